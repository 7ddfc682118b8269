// RingReader for JavaScript; see core/ring.h. It watches the ring's epoll descriptor and delivers
// at most one batch per readiness event, so that the loop can turn. The descriptor stays readable
// while records are left. While open it keeps itself alive and, unless unref'd, the loop too.
#pragma once

#include "../core/ring.h"
#include "js-callback.h"
#include "loop-handle.h"
#include "wrap.h"

namespace bailiff {

class RingWrap : public Wrap<RingWrap, Ring> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "RingReader";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e05, 0x8a17c6d1e2f34b05};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.ringClass; }
  static Napi::Function define(Napi::Env env);

  static Napi::Object open(Napi::Env env, std::unique_ptr<Ring> ring, Napi::Function onBatch);

 private:
  void onReadable(int status);
  void stop();
  Napi::Value take(const Napi::CallbackInfo& info);
  Napi::Value ref(const Napi::CallbackInfo& info);
  Napi::Value unref(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::unique_ptr<LoopHandle> loop_;
  std::shared_ptr<JsCallback> onBatch_;
};

}  // namespace bailiff
