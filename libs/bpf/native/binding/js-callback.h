// Calls from native code into JavaScript. A throwing callback becomes an uncaughtException, and the
// calling handle stays as it was. While the environment shuts down, the call is dropped.
#pragma once

#include <napi.h>

#include <initializer_list>
#include <memory>

#include "context.h"

namespace bailiff {

// From the loop: opens the callback scope (async hooks, microtasks) that such a call needs.
class JsCallback {
 public:
  JsCallback(Napi::Env env, Napi::Function callback, const char* resourceName)
      : env_(env), callback_(Napi::Persistent(callback)), context_(env, resourceName) {}

  // By the C interface, because node-addon-api ends the process if a call fails while a worker is
  // being terminated.
  // LOOP: on the environment's thread, with a HandleScope open, never from inside JavaScript.
  void call(const std::initializer_list<napi_value>& arguments) {
    napi_value ignored = nullptr;
    napi_status status = napi_make_callback(env_, context_, env_.Global(), callback_.Value(), arguments.size(),
                                            arguments.begin(), &ignored);
    bool pending = false;
    if (status == napi_ok || napi_is_exception_pending(env_, &pending) != napi_ok || !pending) return;
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env_, &exception) == napi_ok) napi_fatal_exception(env_, exception);
  }

 private:
  Napi::Env env_;
  Napi::FunctionReference callback_;
  Napi::AsyncContext context_;
};

// Runs the body of a loop callback. A native failure becomes an uncaughtException, and nothing is thrown into libuv.
template <typename Body>
void guardedInLoop(Napi::Env env, Body&& body) {
  Napi::HandleScope handles(env);
  try {
    try {
      body();
    } catch (const NativeError& error) {
      napi_fatal_exception(env, Context::of(env).toError(error));
    }
  } catch (const Napi::Error&) {
    // LOOP: only while the environment is being terminated, so there is no handler.
  }
}

}  // namespace bailiff
