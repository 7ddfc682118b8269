// BpfObject for JavaScript; see core/object.h. Order and names as NativeObject in native.ts.
#pragma once

#include "../core/object.h"
#include "map-wrap.h"
#include "program-wrap.h"

namespace bailiff {

inline Napi::Value toJs(Napi::Env env, const ObjectMap& map) {
  return toObject(env, {{"name", toJs(env, map.name)},
                        {"type", toJs(env, map.type)},
                        {"keySizeBytes", toJs(env, map.keySizeBytes)},
                        {"valueSizeBytes", toJs(env, map.valueSizeBytes)},
                        {"maxEntries", toJs(env, map.maxEntries)},
                        {"flags", toJs(env, map.flags)}});
}

inline Napi::Value toJs(Napi::Env env, const ObjectProgram& program) {
  return toObject(env, {{"name", toJs(env, program.name)},
                        {"section", toJs(env, program.section)},
                        {"type", toJs(env, program.type)},
                        {"attachType", toJs(env, program.attachType)},
                        {"instructionCount", toJs(env, program.instructionCount)}});
}

inline Napi::Value toJs(Napi::Env env, const ObjectVariable& variable) {
  return toObject(env, {{"name", toJs(env, variable.name)},
                        {"section", toJs(env, variable.section)},
                        {"offsetBytes", toJs(env, variable.offsetBytes)},
                        {"sizeBytes", toJs(env, variable.sizeBytes)}});
}

class BpfObjectWrap : public Wrap<BpfObjectWrap, Object> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfObject";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e04, 0x8a17c6d1e2f34b04};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.objectClass; }

  static void addMethods(Napi::Object prototype) {
    using Self = BpfObjectWrap;
    addMethod(prototype, "maps", [](Self& self, Info) { return self.core().maps(); });
    addMethod(prototype, "programs", [](Self& self, Info) { return self.core().programs(); });
    addMethod(prototype, "variables", [](Self& self, Info) { return self.core().variables(); });
    addMethod(prototype, "setMapMaxEntries", [](Self& self, Info info) {
      self.core().setMapMaxEntries(toText(info[0], "name"), toU32(info[1], "maxEntries"));
    });
    addMethod(prototype, "setMapPinPath", [](Self& self, Info info) {
      self.core().setMapPinPath(toText(info[0], "name"), toText(info[1], "path"));
    });
    addMethod(prototype, "setMapAutocreate", [](Self& self, Info info) {
      self.core().setMapAutocreate(toText(info[0], "name"), toBool(info[1], "autocreate"));
    });
    addMethod(prototype, "setProgramAutoload", [](Self& self, Info info) {
      self.core().setProgramAutoload(toText(info[0], "name"), toBool(info[1], "autoload"));
    });
    addMethod(prototype, "reuseMap",
              [](Self& self, Info info) { self.core().reuseMap(toText(info[0], "name"), toText(info[1], "path")); });
    addMethod(prototype, "setInitialValue", [](Self& self, Info info) {
      self.core().setInitialValue(toText(info[0], "section"), toU32(info[1], "offsetBytes"), toBytes(info[2], "value"));
    });
    addMethod(prototype, "load", [](Self& self, Info) { self.core().load(); });
    addMethod(prototype, "map", [](Self& self, Info info) {
      return MapWrap::create(info.Env(), self.core().map(toText(info[0], "name")));
    });
    addMethod(prototype, "program", [](Self& self, Info info) {
      return ProgramWrap::create(info.Env(), self.core().program(toText(info[0], "name")));
    });
  }
};

}  // namespace bailiff
