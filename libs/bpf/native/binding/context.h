// State of the addon in one JavaScript environment (the main thread or a worker): constructors, the
// error factory and the logger. There is no other state per thread, so any number of workers may
// load the addon.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "../core/error.h"
#include "../core/log.h"

namespace bailiff {

class Context {
 public:
  explicit Context(Napi::Env env) : env_(env) {}
  // SAFETY: Node keeps instance data until every object of the environment is finalized.
  static Context& of(Napi::Env env) { return *env.GetInstanceData<Context>(); }

  Napi::FunctionReference objectClass, mapClass, programClass, linkClass, ringClass, monitorClass;

  void setErrorFactory(Napi::Function factory) { errorFactory_ = Napi::Persistent(factory); }
  void setLogger(Napi::Value logger, LogLevel maxLevel);
  LogLevel logLevel() const { return logLevel_; }

  // The error of errors.ts for a native error; a plain Error while no factory is set.
  Napi::Value toError(const NativeError& error);
  void deliver(const std::vector<LogLine>& lines);

 private:
  Napi::Env env_;
  Napi::FunctionReference errorFactory_;
  Napi::FunctionReference logger_;
  LogLevel logLevel_ = LogLevel::kWarn;
};

// Runs one binding call: delivers libbpf's lines at its end, and turns native errors into
// JavaScript errors.
template <typename Body>
Napi::Value guarded(Napi::Env env, Body&& body) {
  Context& context = Context::of(env);
  LogScope scope(context.logLevel());
  try {
    Napi::Value result = body();
    context.deliver(scope.take());
    return result;
  } catch (const NativeError& error) {
    context.deliver(scope.take());
    throw Napi::Error(env, context.toError(error));
  } catch (const std::invalid_argument& error) {
    context.deliver(scope.take());
    throw Napi::TypeError::New(env, error.what());
  } catch (const Napi::Error&) {
    context.deliver(scope.take());
    throw;
  } catch (const std::exception& error) {  // bad_alloc, length_error
    throw Napi::Error::New(env, error.what());
  }
}

}  // namespace bailiff
