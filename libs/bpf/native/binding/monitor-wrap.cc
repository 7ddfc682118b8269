// See monitor-wrap.h. Order and names as NativeLinkMonitor in native.ts.
#include "monitor-wrap.h"

namespace bailiff {

Napi::Function MonitorWrap::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&MonitorWrap::ref>("ref"),
                         InstanceMethod<&MonitorWrap::unref>("unref"),
                         InstanceMethod<&MonitorWrap::close>("close"),
                     });
}

Napi::Object MonitorWrap::open(Napi::Env env, std::unique_ptr<LinkMonitor> monitor, Napi::Function onLinks,
                               Napi::Function onOverrun) {
  int fd = monitor->fd();
  Napi::Object object = create(env, std::move(monitor));
  MonitorWrap* self = Unwrap(object);
  self->onLinks_ = std::make_shared<JsCallback>(env, onLinks, kName);
  self->onOverrun_ = std::make_shared<JsCallback>(env, onOverrun, kName);
  // SAFETY: the loop's callbacks use `self`, which Ref keeps from the garbage collector until stop().
  self->loop_ = std::make_unique<LoopHandle>(
      env, fd, [self](int status) { self->onReadable(status); },
      [self] {
        self->onLinks_.reset();
        self->onOverrun_.reset();
      });
  self->Ref();
  return object;
}

void MonitorWrap::onReadable(int status) {
  guardedInLoop(Env(), [&] {
    [[maybe_unused]] Napi::Object keep =
        Value();  // SAFETY: a callback may close this, and a collection may follow at once
    std::shared_ptr<JsCallback> onLinks = onLinks_, onOverrun = onOverrun_;
    LinkEvents events = core().take();
    // An overrun raises EPOLLERR, and libuv stops watching; the read has cleared the error.
    if (status < 0 && events.error == 0) loop_->resume();
    if (!events.links.empty()) {
      Napi::Array list = Napi::Array::New(Env(), events.links.size());
      for (uint32_t i = 0; i < events.links.size(); i++) list.Set(i, fromLink(Env(), events.links[i]));
      onLinks->call({list});
    }
    if (events.overrun && isOpen()) onOverrun->call({});
    if (events.error != 0) {
      stop();  // otherwise the descriptor would be reported again and again
      fail("netlink.monitor", events.error, "receiving link events");
    }
  });
}

void MonitorWrap::stop() {
  if (!loop_) return;
  loop_.reset();
  onLinks_.reset();
  onOverrun_.reset();
  Unref();
}

Napi::Value MonitorWrap::ref(const Napi::CallbackInfo& info) {
  if (loop_) loop_->ref();
  return info.Env().Undefined();
}

Napi::Value MonitorWrap::unref(const Napi::CallbackInfo& info) {
  if (loop_) loop_->unref();
  return info.Env().Undefined();
}

Napi::Value MonitorWrap::close(const Napi::CallbackInfo& info) {
  stop();
  return release(info);
}

}  // namespace bailiff
