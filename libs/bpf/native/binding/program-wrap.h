// BpfProgram for JavaScript; see core/program.h and core/clsact.h. Order and names as NativeProgram
// in native.ts.
#pragma once

#include "../core/clsact.h"
#include "../core/program.h"
#include "link-wrap.h"
#include "wrap.h"

namespace bailiff {

class ProgramWrap : public Wrap<ProgramWrap, Program> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfProgram";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e02, 0x8a17c6d1e2f34b02};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.programClass; }

  static void addMethods(Napi::Object prototype) {
    addMethod(prototype, "info", [](ProgramWrap& self, Info info) {
      Napi::Env env = info.Env();
      const ProgramInfo& program = self.core().info();
      return toObject(env, {
                               {"name", toJs(env, program.name)},
                               {"id", toJs(env, program.id)},
                               {"type", toJs(env, program.type)},
                               {"tag", toJs(env, program.tag)},
                               {"instructions", toJs(env, program.instructions)},
                               {"verifiedInstructions", toJs(env, program.verifiedInstructions)},
                               {"runs", toJs(env, program.runs)},
                               {"runNs", toJs(env, program.runNs)},
                           });
    });
    addMethod(prototype, "testRun", [](ProgramWrap& self, Info info) {
      Napi::Env env = info.Env();
      ByteView data = toBytes(info[0], "data");
      std::optional<ByteView> context;
      if (!isUnset(info[1])) context = toBytes(info[1], "context");
      TestRunResult run = self.core().testRun(data, context, toU32(info[2], "repeat"), toU32(info[3], "dataOutBytes"));
      return toObject(env, {{"retval", toJs(env, run.retval)},
                            {"durationNs", toJs(env, run.durationNs)},
                            {"dataOut", toJs(env, run.dataOut)},
                            {"contextOut", context ? toJs(env, run.contextOut) : env.Null()}});
    });
    addMethod(prototype, "attachTcx", [](ProgramWrap& self, Info info) {
      TcxPlace place = {toU32(info[2], "flags"), toU32(info[3], "relativeId"), toU64(info[4], "expectedRevision")};
      return LinkWrap::create(info.Env(),
                              self.core().attachTcx(toU32(info[0], "ifindex"), toU32(info[1], "attachType"), place));
    });
    addMethod(prototype, "attachClsact", [](ProgramWrap& self, Info info) {
      Napi::Env env = info.Env();
      ClsactPlace place = {toU32(info[0], "ifindex"), toBool(info[1], "ingress"), toU32(info[2], "priority"),
                           toU32(info[3], "handle")};
      ClsactFilter filter = attachClsact(self.core().fd(), place, toBool(info[4], "replace"));
      return toObject(env, {{"priority", toJs(env, filter.priority)},
                            {"handle", toJs(env, filter.handle)},
                            {"programId", toJs(env, filter.programId)},
                            {"createdQdisc", toJs(env, filter.createdQdisc)}});
    });
    addMethod(prototype, "attach",
              [](ProgramWrap& self, Info info) { return LinkWrap::create(info.Env(), self.core().attach()); });
    addMethod(prototype, "pin", [](ProgramWrap& self, Info info) { self.core().pin(toText(info[0], "path")); });
  }
};

inline int programFd(const Napi::Value& value, const char* name) {
  return ProgramWrap::argument(value, name).fd();
}

}  // namespace bailiff
