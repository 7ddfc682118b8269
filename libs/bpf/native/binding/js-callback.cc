// See js-callback.h. This file uses the C interface, because node-addon-api ends the process if a
// call fails while a worker is being terminated.
#include "js-callback.h"

namespace bailiff {

void reportPending(napi_env env) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return;
  napi_value exception = nullptr;
  if (napi_get_and_clear_last_exception(env, &exception) != napi_ok) return;
  napi_fatal_exception(env, exception);
}

void callOrReport(Napi::Env env, Napi::Function callback, const std::initializer_list<napi_value>& arguments) {
  napi_value ignored = nullptr;
  napi_status status =
      napi_call_function(env, env.Undefined(), callback, arguments.size(), arguments.begin(), &ignored);
  if (status != napi_ok) reportPending(env);
}

void JsCallback::call(const std::initializer_list<napi_value>& arguments) {
  napi_value ignored = nullptr;
  napi_status status = napi_make_callback(env_, context_, env_.Global(), callback_.Value(), arguments.size(),
                                          arguments.begin(), &ignored);
  if (status != napi_ok) reportPending(env_);
}

}  // namespace bailiff
