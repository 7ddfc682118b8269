// See object-wrap.h. Order and names as NativeObject in native.ts.
#include "object-wrap.h"

#include "map-wrap.h"
#include "program-wrap.h"

namespace bailiff {

Napi::Function BpfObjectWrap::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&BpfObjectWrap::maps>("maps"),
                         InstanceMethod<&BpfObjectWrap::programs>("programs"),
                         InstanceMethod<&BpfObjectWrap::variables>("variables"),
                         InstanceMethod<&BpfObjectWrap::setMapMaxEntries>("setMapMaxEntries"),
                         InstanceMethod<&BpfObjectWrap::setMapPinPath>("setMapPinPath"),
                         InstanceMethod<&BpfObjectWrap::setMapAutocreate>("setMapAutocreate"),
                         InstanceMethod<&BpfObjectWrap::setProgramAutoload>("setProgramAutoload"),
                         InstanceMethod<&BpfObjectWrap::reuseMap>("reuseMap"),
                         InstanceMethod<&BpfObjectWrap::setInitialValue>("setInitialValue"),
                         InstanceMethod<&BpfObjectWrap::initialValue>("initialValue"),
                         InstanceMethod<&BpfObjectWrap::load>("load"),
                         InstanceMethod<&BpfObjectWrap::map>("map"),
                         InstanceMethod<&BpfObjectWrap::program>("program"),
                         InstanceMethod<&BpfObjectWrap::close>("close"),
                     });
}

Napi::Value BpfObjectWrap::maps(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const ObjectMap& map : core().maps()) {
      Napi::Object out = Napi::Object::New(info.Env());
      out.Set("name", map.name);
      out.Set("type", map.type);
      out.Set("keySizeBytes", map.keySizeBytes);
      out.Set("valueSizeBytes", map.valueSizeBytes);
      out.Set("maxEntries", map.maxEntries);
      out.Set("flags", map.flags);
      list.Set(list.Length(), out);
    }
    return list;
  });
}

Napi::Value BpfObjectWrap::programs(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const ObjectProgram& program : core().programs()) {
      Napi::Object out = Napi::Object::New(info.Env());
      out.Set("name", program.name);
      out.Set("section", program.section);
      out.Set("type", program.type);
      out.Set("attachType", program.attachType);
      out.Set("instructionCount", program.instructionCount);
      list.Set(list.Length(), out);
    }
    return list;
  });
}

Napi::Value BpfObjectWrap::variables(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const ObjectVariable& variable : core().variables()) {
      Napi::Object out = Napi::Object::New(info.Env());
      out.Set("name", variable.name);
      out.Set("section", variable.section);
      out.Set("offsetBytes", variable.offsetBytes);
      out.Set("sizeBytes", variable.sizeBytes);
      list.Set(list.Length(), out);
    }
    return list;
  });
}

Napi::Value BpfObjectWrap::setMapMaxEntries(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().setMapMaxEntries(toText(info[0], "name"), toU32(info[1], "maxEntries"));
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::setMapPinPath(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().setMapPinPath(toText(info[0], "name"), toText(info[1], "path"));
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::setMapAutocreate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().setMapAutocreate(toText(info[0], "name"), toBool(info[1], "autocreate"));
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::setProgramAutoload(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().setProgramAutoload(toText(info[0], "name"), toBool(info[1], "autoload"));
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::reuseMap(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().reuseMap(toText(info[0], "name"), toText(info[1], "path"));
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::setInitialValue(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().setInitialValue(toText(info[0], "section"), toU32(info[1], "offsetBytes"), toBytes(info[2], "value"));
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::initialValue(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return fromBytes(info.Env(), core().initialValue(toText(info[0], "section"))); });
}

Napi::Value BpfObjectWrap::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    core().load();
    return info.Env().Undefined();
  });
}

Napi::Value BpfObjectWrap::map(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return MapWrap::create(info.Env(), core().map(toText(info[0], "name"))); });
}

Napi::Value BpfObjectWrap::program(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return ProgramWrap::create(info.Env(), core().program(toText(info[0], "name"))); });
}

}  // namespace bailiff
