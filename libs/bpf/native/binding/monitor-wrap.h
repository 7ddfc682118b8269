// LinkMonitor for JavaScript; see core/link-monitor.h. One callback per turn gets all events of the
// turn, another one reports lost events. While open it keeps itself alive and, unless unref'd, the
// loop too.
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
  static Napi::Function define(Napi::Env env);

  static Napi::Object open(Napi::Env env, std::unique_ptr<LinkMonitor> monitor, Napi::Function onLinks,
                           Napi::Function onOverrun);

 private:
  void onReadable(int status);
  void stop();
  Napi::Value ref(const Napi::CallbackInfo& info);
  Napi::Value unref(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::unique_ptr<LoopHandle> loop_;
  std::shared_ptr<JsCallback> onLinks_;
  std::shared_ptr<JsCallback> onOverrun_;
};

}  // namespace bailiff
