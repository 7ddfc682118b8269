// See link-wrap.h. Order and names as NativeLink in native.ts.
#include "link-wrap.h"

#include "program-wrap.h"

namespace bailiff {

Napi::Function LinkWrap::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&LinkWrap::info>("info"),
                         InstanceMethod<&LinkWrap::programTag>("programTag"),
                         InstanceMethod<&LinkWrap::update>("update"),
                         InstanceMethod<&LinkWrap::detach>("detach"),
                         InstanceMethod<&LinkWrap::pin>("pin"),
                         InstanceMethod<&LinkWrap::close>("close"),
                     });
}

Napi::Value LinkWrap::info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    LinkInfo link = core().info();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("type", link.type);
    out.Set("linkId", link.linkId);
    out.Set("programId", link.programId);
    out.Set("ifindex", link.ifindex);
    out.Set("attachType", link.attachType);
    return out;
  });
}

Napi::Value LinkWrap::programTag(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), core().programTag()); });
}

Napi::Value LinkWrap::update(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    int newProgram = ProgramWrap::argument(info[0], "newProgram").fd();
    int oldProgram = isUnset(info[1]) ? -1 : ProgramWrap::argument(info[1], "oldProgram").fd();
    core().update(newProgram, oldProgram);
    return info.Env().Undefined();
  });
}

Napi::Value LinkWrap::detach(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().detach();
    return info.Env().Undefined();
  });
}

Napi::Value LinkWrap::pin(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().pin(toText(info[0], "path"));
    return info.Env().Undefined();
  });
}

}  // namespace bailiff
