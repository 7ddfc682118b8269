// BpfLink for JavaScript; see core/link.h. Order and names as NativeLink in native.ts.
#pragma once

#include "../core/link.h"
#include "wrap.h"

namespace bailiff {

// Descriptor of a program that is given as an argument; in program-wrap.h.
int programFd(const Napi::Value& value, const char* name);

class LinkWrap : public Wrap<LinkWrap, Link> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfLink";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e03, 0x8a17c6d1e2f34b03};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.linkClass; }

  static void addMethods(Napi::Object prototype) {
    addMethod(prototype, "info", [](LinkWrap& self, Info info) {
      Napi::Env env = info.Env();
      LinkInfo link = self.core().info();
      return toObject(env, {{"type", toJs(env, link.type)},
                            {"linkId", toJs(env, link.linkId)},
                            {"programId", toJs(env, link.programId)},
                            {"ifindex", toJs(env, link.ifindex)},
                            {"attachType", toJs(env, link.attachType)}});
    });
    addMethod(prototype, "programTag", [](LinkWrap& self, Info) { return self.core().programTag(); });
    addMethod(prototype, "update", [](LinkWrap& self, Info info) {
      int newProgram = programFd(info[0], "newProgram");
      int oldProgram = isUnset(info[1]) ? -1 : programFd(info[1], "oldProgram");
      self.core().update(newProgram, oldProgram);
    });
    addMethod(prototype, "detach", [](LinkWrap& self, Info) { self.core().detach(); });
    addMethod(prototype, "pin", [](LinkWrap& self, Info info) { self.core().pin(toText(info[0], "path")); });
  }
};

}  // namespace bailiff
