// BpfMap for JavaScript; see core/map.h. Order and names as NativeMap in native.ts.
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

  static void addMethods(Napi::Object prototype) {
    addMethod(prototype, "info", [](MapWrap& self, Info info) {
      Napi::Env env = info.Env();
      const MapInfo& map = self.core().info();
      return toObject(env, {
                               {"name", toJs(env, map.name)},
                               {"id", toJs(env, map.id)},
                               {"type", toJs(env, map.type)},
                               {"keySizeBytes", toJs(env, map.keySizeBytes)},
                               {"valueSizeBytes", toJs(env, map.valueSizeBytes)},
                               {"maxEntries", toJs(env, map.maxEntries)},
                               {"flags", toJs(env, map.flags)},
                               {"valueBlockBytes", toJs(env, map.valueBlockBytes)},
                           });
    });
    addMethod(prototype, "get", [](MapWrap& self, Info info) { return self.core().lookup(toBytes(info[0], "key")); });
    addMethod(prototype, "getInto", [](MapWrap& self, Info info) {
      return self.core().lookupInto(toBytes(info[0], "key"), toMutableBytes(info[1], "value"));
    });
    addMethod(prototype, "set", [](MapWrap& self, Info info) {
      self.core().update(toBytes(info[0], "key"), toBytes(info[1], "value"), toU32(info[2], "flags"));
    });
    addMethod(prototype, "delete",
              [](MapWrap& self, Info info) { return self.core().remove(toBytes(info[0], "key")); });
    addMethod(prototype, "entries", [](MapWrap& self, Info info) {
      Napi::Env env = info.Env();
      MapEntries entries = self.core().entries();
      return toObject(env, {{"count", toJs(env, entries.count)},
                            {"keys", toJs(env, entries.keys)},
                            {"values", toJs(env, entries.values)}});
    });
    addMethod(prototype, "count", [](MapWrap& self, Info) { return self.core().count(); });
    addMethod(prototype, "pin", [](MapWrap& self, Info info) { self.core().pin(toText(info[0], "path")); });
  }
};

}  // namespace bailiff
