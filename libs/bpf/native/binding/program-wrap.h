// BpfProgram for JavaScript; see core/program.h and core/clsact.h.
#pragma once

#include "../core/program.h"
#include "wrap.h"

namespace bailiff {

class ProgramWrap : public Wrap<ProgramWrap, Program> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfProgram";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e02, 0x8a17c6d1e2f34b02};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.programClass; }
  static Napi::Function define(Napi::Env env);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value testRun(const Napi::CallbackInfo& info);
  Napi::Value attachTcx(const Napi::CallbackInfo& info);
  Napi::Value attachClsact(const Napi::CallbackInfo& info);
  Napi::Value attach(const Napi::CallbackInfo& info);
  Napi::Value pin(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info) { return release(info); }
};

}  // namespace bailiff
