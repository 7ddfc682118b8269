// See ring-wrap.h. Order and names as NativeRingReader in native.ts.
#include "ring-wrap.h"

namespace bailiff {

Napi::Function RingWrap::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&RingWrap::take>("take"),
                         InstanceMethod<&RingWrap::ref>("ref"),
                         InstanceMethod<&RingWrap::unref>("unref"),
                         InstanceMethod<&RingWrap::close>("close"),
                     });
}

Napi::Object RingWrap::open(Napi::Env env, std::unique_ptr<Ring> ring, Napi::Function onBatch) {
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

void RingWrap::onReadable(int status) {
  guardedInLoop(Env(), [&] {
    [[maybe_unused]] Napi::Object keep =
        Value();  // SAFETY: the callback may close this, and a collection may follow at once
    try {
      if (status < 0) fail("ring.poll", status);
      RingBatch batch = core().take();
      if (batch.count == 0) return;
      std::shared_ptr<JsCallback> callback = onBatch_;
      callback->call({fromBytes(Env(), batch.bytes), Napi::Number::New(Env(), batch.count)});
    } catch (const NativeError&) {
      stop();  // otherwise the descriptor would be reported again and again
      throw;
    }
  });
}

void RingWrap::stop() {
  if (!loop_) return;
  loop_.reset();
  onBatch_.reset();
  Unref();
}

Napi::Value RingWrap::take(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    RingBatch batch = core().take();
    if (batch.count == 0) return info.Env().Null();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("batch", fromBytes(info.Env(), batch.bytes));
    out.Set("count", batch.count);
    return out;
  });
}

Napi::Value RingWrap::ref(const Napi::CallbackInfo& info) {
  if (loop_) loop_->ref();
  return info.Env().Undefined();
}

Napi::Value RingWrap::unref(const Napi::CallbackInfo& info) {
  if (loop_) loop_->unref();
  return info.Env().Undefined();
}

Napi::Value RingWrap::close(const Napi::CallbackInfo& info) {
  stop();
  return release(info);
}

}  // namespace bailiff
