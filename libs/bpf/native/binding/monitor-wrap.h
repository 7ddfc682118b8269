// LinkMonitor for JavaScript; see core/link-monitor.h. One callback per turn gets all events of the
// turn, another one reports lost events; takeQueued() reads what is queued without them. While open it keeps itself and
// the loop alive.
#pragma once

#include "../core/link-monitor.h"
#include "js-callback.h"
#include "loop-handle.h"
#include "wrap.h"

namespace bailiff {

class MonitorWrap : public Wrap<MonitorWrap, LinkMonitor> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "LinkMonitor";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e06, 0x8a17c6d1e2f34b06};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.monitorClass; }

  static void addMethods(Napi::Object prototype) {
    addMethod(prototype, "takeQueued", [](MonitorWrap& self, Info info) {
      Napi::Env env = info.Env();
      LinkEvents events = self.core().take(kMaxDatagramsInQueue);
      if (events.error != 0) fail("netlink.monitor", events.error, "receiving link events");
      return toObject(env, {{"links", toJs(env, events.links)}, {"overrun", toJs(env, events.overrun)}});
    });
  }

  static Napi::Object open(Napi::Env env, std::unique_ptr<LinkMonitor> monitor, Napi::Function onLinks,
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

  void stop() {
    if (!loop_) return;
    loop_.reset();
    onLinks_.reset();
    onOverrun_.reset();
    Unref();
  }

 private:
  void onReadable(int status) {
    guardedInLoop(Env(), [&] {
      [[maybe_unused]] Napi::Object keep =
          Value();  // SAFETY: a callback may close this, and a collection may follow at once
      std::shared_ptr<JsCallback> onLinks = onLinks_, onOverrun = onOverrun_;
      LinkEvents events = core().take();
      // An overrun raises EPOLLERR, and libuv stops watching; the read has cleared the error.
      if (status < 0 && events.error == 0) loop_->resume();
      if (!events.links.empty()) onLinks->call({toJs(Env(), events.links)});
      if (events.overrun && isOpen()) onOverrun->call({});
      if (events.error != 0) {
        stop();  // otherwise the descriptor would be reported again and again
        fail("netlink.monitor", events.error, "receiving link events");
      }
    });
  }

  std::unique_ptr<LoopHandle> loop_;
  std::shared_ptr<JsCallback> onLinks_;
  std::shared_ptr<JsCallback> onOverrun_;
};

}  // namespace bailiff
