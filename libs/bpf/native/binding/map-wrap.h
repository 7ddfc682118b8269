// BpfMap for JavaScript; see core/map.h.
#pragma once

#include "../core/map.h"
#include "wrap.h"

namespace bailiff {

class MapWrap : public Wrap<MapWrap, Map> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfMap";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e01, 0x8a17c6d1e2f34b01};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.mapClass; }
  static Napi::Function define(Napi::Env env);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value get(const Napi::CallbackInfo& info);
  Napi::Value getInto(const Napi::CallbackInfo& info);
  Napi::Value set(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value entries(const Napi::CallbackInfo& info);
  Napi::Value count(const Napi::CallbackInfo& info);
  Napi::Value pin(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info) { return release(info); }
};

}  // namespace bailiff
