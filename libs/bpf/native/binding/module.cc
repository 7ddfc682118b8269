// The addon bailiff_bpf.node: a thin binding over libbpf, netlink and a few system calls, without
// policy. libs/bpf/src/core/native.ts declares its exports in the same order. Files under core/ do
// not use JavaScript.
#include "functions.h"
#include "link-wrap.h"
#include "map-wrap.h"
#include "monitor-wrap.h"
#include "object-wrap.h"
#include "program-wrap.h"
#include "ring-wrap.h"

namespace bailiff {
namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  installLogCallback();
  // SAFETY: Node deletes instance data when the environment ends.
  auto* context = new Context(env);
  env.SetInstanceData<Context>(context);
  context->objectClass = Napi::Persistent(BpfObjectWrap::define(env));
  context->mapClass = Napi::Persistent(MapWrap::define(env));
  context->programClass = Napi::Persistent(ProgramWrap::define(env));
  context->linkClass = Napi::Persistent(LinkWrap::define(env));
  context->ringClass = Napi::Persistent(RingWrap::define(env));
  context->monitorClass = Napi::Persistent(MonitorWrap::define(env));
  exportOpeners(env, exports);
  exportSystem(env, exports);
  return exports;
}

NODE_API_MODULE(bailiff_bpf, init)

}  // namespace
}  // namespace bailiff
