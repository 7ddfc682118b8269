// See map-wrap.h. Order and names as NativeMap in native.ts.
#include "map-wrap.h"

namespace bailiff {

Napi::Function MapWrap::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&MapWrap::info>("info"),
                         InstanceMethod<&MapWrap::get>("get"),
                         InstanceMethod<&MapWrap::getInto>("getInto"),
                         InstanceMethod<&MapWrap::set>("set"),
                         InstanceMethod<&MapWrap::remove>("delete"),
                         InstanceMethod<&MapWrap::entries>("entries"),
                         InstanceMethod<&MapWrap::count>("count"),
                         InstanceMethod<&MapWrap::pin>("pin"),
                         InstanceMethod<&MapWrap::close>("close"),
                     });
}

Napi::Value MapWrap::info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return fromMapInfo(info.Env(), core().info()); });
}

Napi::Value MapWrap::get(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::optional<Bytes> value = core().lookup(toBytes(info[0], "key"));
    return value ? fromBytes(info.Env(), *value) : info.Env().Null();
  });
}

Napi::Value MapWrap::getInto(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    bool found = core().lookupInto(toBytes(info[0], "key"), toMutableBytes(info[1], "value"));
    return Napi::Boolean::New(info.Env(), found);
  });
}

Napi::Value MapWrap::set(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().update(toBytes(info[0], "key"), toBytes(info[1], "value"), toU32(info[2], "flags"));
    return info.Env().Undefined();
  });
}

Napi::Value MapWrap::remove(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::Boolean::New(info.Env(), core().remove(toBytes(info[0], "key"))); });
}

Napi::Value MapWrap::entries(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    MapEntries entries = core().entries();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("count", entries.count);
    out.Set("keys", fromBytes(info.Env(), entries.keys));
    out.Set("values", fromBytes(info.Env(), entries.values));
    return out;
  });
}

Napi::Value MapWrap::count(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), core().count()); });
}

Napi::Value MapWrap::pin(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().pin(toText(info[0], "path"));
    return info.Env().Undefined();
  });
}

}  // namespace bailiff
