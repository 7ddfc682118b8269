// State of the addon in one JavaScript environment (the main thread or a worker): constructors and
// the error factory. There is no other state per thread, so any number of workers may load the
// addon.
#pragma once

#include <napi.h>

#include <string>

#include "../core/error.h"
#include "convert.h"

namespace bailiff {

using Info = const Napi::CallbackInfo&;

class Context {
 public:
  explicit Context(Napi::Env env) : env_(env) {}
  // SAFETY: Node keeps instance data until every object of the environment is finalized.
  static Context& of(Napi::Env env) { return *env.GetInstanceData<Context>(); }

  Napi::FunctionReference objectClass, mapClass, programClass, linkClass, ringClass, monitorClass;

  void setErrorFactory(Napi::Function factory) { errorFactory_ = Napi::Persistent(factory); }

  // The error of errors.ts for a native error; a plain Error while no factory is set.
  Napi::Value toError(const NativeError& error) {
    if (errorFactory_.IsEmpty()) {
      return Napi::Error::New(env_, error.operation + ": errno " + std::to_string(error.error) + " " + error.detail)
          .Value();
    }
    Napi::Value verifierLog = error.verifierLog.empty() ? env_.Null() : Napi::String::New(env_, error.verifierLog);
    return errorFactory_.Call({Napi::String::New(env_, error.operation), Napi::Number::New(env_, error.error),
                               Napi::String::New(env_, error.detail), verifierLog});
  }

 private:
  Napi::Env env_;
  Napi::FunctionReference errorFactory_;
};

// Adds a function to an object. `body` gets the arguments and returns a value for toJs, or nothing.
// Native errors become JavaScript errors.
template <typename Body>
void addFunction(Napi::Object target, const char* name, Body body) {
  auto call = [body](Info info) -> Napi::Value {
    Napi::Env env = info.Env();
    try {
      if constexpr (std::is_void_v<decltype(body(info))>) {
        body(info);
        return env.Undefined();
      } else {
        return toJs(env, body(info));
      }
    } catch (const NativeError& error) {
      throw Napi::Error(env, Context::of(env).toError(error));
    } catch (const std::invalid_argument& error) {
      throw Napi::TypeError::New(env, error.what());
    } catch (const Napi::Error&) {
      throw;
    } catch (const std::exception& error) {  // bad_alloc, length_error
      throw Napi::Error::New(env, error.what());
    }
  };
  target.Set(name, Napi::Function::New(target.Env(), call, name));
}

}  // namespace bailiff
