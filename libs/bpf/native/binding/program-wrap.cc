// See program-wrap.h. Order and names as NativeProgram in native.ts.
#include "program-wrap.h"

#include "../core/clsact.h"
#include "link-wrap.h"

namespace bailiff {

Napi::Function ProgramWrap::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&ProgramWrap::info>("info"),
                         InstanceMethod<&ProgramWrap::testRun>("testRun"),
                         InstanceMethod<&ProgramWrap::attachTcx>("attachTcx"),
                         InstanceMethod<&ProgramWrap::attachClsact>("attachClsact"),
                         InstanceMethod<&ProgramWrap::attach>("attach"),
                         InstanceMethod<&ProgramWrap::pin>("pin"),
                         InstanceMethod<&ProgramWrap::close>("close"),
                     });
}

Napi::Value ProgramWrap::info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const ProgramInfo& program = core().info();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("name", program.name);
    out.Set("id", program.id);
    out.Set("type", program.type);
    out.Set("tag", program.tag);
    out.Set("instructions", program.instructions);
    out.Set("verifiedInstructions", program.verifiedInstructions);
    out.Set("runs", static_cast<double>(program.runs));
    out.Set("runNs", static_cast<double>(program.runNs));
    return out;
  });
}

Napi::Value ProgramWrap::testRun(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&] {
    ByteView data = toBytes(info[0], "data");
    std::optional<ByteView> context;
    if (!isUnset(info[1])) context = toBytes(info[1], "context");
    TestRunResult result = core().testRun(data, context, toU32(info[2], "repeat"), toU32(info[3], "dataOutBytes"));
    Napi::Object out = Napi::Object::New(env);
    out.Set("retval", result.retval);
    out.Set("durationNs", result.durationNs);
    out.Set("dataOut", fromBytes(env, result.dataOut));
    out.Set("contextOut", context ? fromBytes(env, result.contextOut) : env.Null());
    return out;
  });
}

Napi::Value ProgramWrap::attachTcx(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    TcxPlace place = {toU32(info[2], "flags"), toU32(info[3], "relativeId"), toU64(info[4], "expectedRevision")};
    return LinkWrap::create(info.Env(),
                            core().attachTcx(toU32(info[0], "ifindex"), toU32(info[1], "attachType"), place));
  });
}

Napi::Value ProgramWrap::attachClsact(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    ClsactPlace place = {toU32(info[0], "ifindex"), toBool(info[1], "ingress"), toU32(info[2], "priority"),
                         toU32(info[3], "handle")};
    ClsactFilter filter = bailiff::attachClsact(core().fd(), place, toBool(info[4], "replace"));
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("priority", filter.priority);
    out.Set("handle", filter.handle);
    out.Set("programId", filter.programId);
    out.Set("createdQdisc", filter.createdQdisc);
    return out;
  });
}

Napi::Value ProgramWrap::attach(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return LinkWrap::create(info.Env(), core().attach()); });
}

Napi::Value ProgramWrap::pin(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().pin(toText(info[0], "path"));
    return info.Env().Undefined();
  });
}

}  // namespace bailiff
