// RingReader for JavaScript; see core/ring.h. It watches the ring's epoll descriptor and delivers
// at most one batch per readiness event, so that the loop can turn. The descriptor stays readable
// while records are left. While open it keeps itself and the loop alive.
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

  static void addMethods(Napi::Object prototype) {
    addMethod(prototype, "take", [](RingWrap& self, Info info) -> Napi::Value {
      Napi::Env env = info.Env();
      RingBatch batch = self.core().take();
      if (batch.count == 0) return env.Null();
      return toObject(env, {{"batch", toJs(env, batch.bytes)}, {"count", toJs(env, batch.count)}});
    });
  }

  static Napi::Object open(Napi::Env env, std::unique_ptr<Ring> ring, Napi::Function onBatch) {
    int fd = ring->epollFd();
    Napi::Object object = create(env, std::move(ring));
    RingWrap* self = Unwrap(object);
    self->onBatch_ = std::make_shared<JsCallback>(env, onBatch, kName);
    // SAFETY: the loop's callbacks use `self`, which Ref keeps from the garbage collector until stop().
    self->loop_ = std::make_unique<LoopHandle>(
        env, fd, [self](int status) { self->onReadable(status); }, [self] { self->onBatch_.reset(); });
    self->Ref();
    return object;
  }

  void stop() {
    if (!loop_) return;
    loop_.reset();
    onBatch_.reset();
    Unref();
  }

 private:
  void onReadable(int status) {
    guardedInLoop(Env(), [&] {
      [[maybe_unused]] Napi::Object keep =
          Value();  // SAFETY: the callback may close this, and a collection may follow at once
      try {
        if (status < 0) fail("ring.poll", status);
        RingBatch batch = core().take();
        if (batch.count == 0) return;
        std::shared_ptr<JsCallback> callback = onBatch_;
        callback->call({toJs(Env(), batch.bytes), toJs(Env(), batch.count)});
      } catch (const NativeError&) {
        stop();  // otherwise the descriptor would be reported again and again
        throw;
      }
    });
  }

  std::unique_ptr<LoopHandle> loop_;
  std::shared_ptr<JsCallback> onBatch_;
};

}  // namespace bailiff
