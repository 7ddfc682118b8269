// BpfObject for JavaScript; see core/object.h.
#pragma once

#include "../core/object.h"
#include "wrap.h"

namespace bailiff {

class BpfObjectWrap : public Wrap<BpfObjectWrap, Object> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfObject";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e04, 0x8a17c6d1e2f34b04};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.objectClass; }
  static Napi::Function define(Napi::Env env);

 private:
  Napi::Value maps(const Napi::CallbackInfo& info);
  Napi::Value programs(const Napi::CallbackInfo& info);
  Napi::Value variables(const Napi::CallbackInfo& info);
  Napi::Value setMapMaxEntries(const Napi::CallbackInfo& info);
  Napi::Value setMapPinPath(const Napi::CallbackInfo& info);
  Napi::Value setMapAutocreate(const Napi::CallbackInfo& info);
  Napi::Value setProgramAutoload(const Napi::CallbackInfo& info);
  Napi::Value reuseMap(const Napi::CallbackInfo& info);
  Napi::Value setInitialValue(const Napi::CallbackInfo& info);
  Napi::Value initialValue(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value map(const Napi::CallbackInfo& info);
  Napi::Value program(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info) { return release(info); }
};

}  // namespace bailiff
