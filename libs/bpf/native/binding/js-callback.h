// Calls from native code into JavaScript. A throwing callback becomes an uncaughtException, and the
// calling handle stays as it was. While the environment shuts down, the call is dropped.
#pragma once

#include <napi.h>

#include <initializer_list>
#include <memory>
#include <string>

#include "context.h"

namespace bailiff {

// Turns a pending JavaScript exception, if there is one, into an uncaughtException.
void reportPending(napi_env env);

// During a call from JavaScript.
void callOrReport(Napi::Env env, Napi::Function callback, const std::initializer_list<napi_value>& arguments);

// From the loop: opens the callback scope (async hooks, microtasks) that such a call needs.
class JsCallback {
 public:
  JsCallback(Napi::Env env, Napi::Function callback, const char* resourceName)
      : env_(env), callback_(Napi::Persistent(callback)), context_(env, resourceName) {}

  // LOOP: on the environment's thread, with a HandleScope open, never from inside JavaScript.
  void call(const std::initializer_list<napi_value>& arguments);

 private:
  Napi::Env env_;
  Napi::FunctionReference callback_;
  Napi::AsyncContext context_;
};

// Runs the body of a loop callback. A native failure becomes an uncaughtException, and nothing is thrown into libuv.
template <typename Body>
void guardedInLoop(Napi::Env env, Body&& body) {
  Napi::HandleScope handles(env);
  Context& context = Context::of(env);
  LogScope scope(context.logLevel());
  try {
    try {
      body();
    } catch (const NativeError& error) {
      napi_fatal_exception(env, context.toError(error));
    }
    context.deliver(scope.take());
  } catch (const Napi::Error&) {
    // LOOP: only while the environment is being terminated, so there is no handler.
  }
}

}  // namespace bailiff
