// BpfLink for JavaScript; see core/link.h.
#pragma once

#include "../core/link.h"
#include "wrap.h"

namespace bailiff {

class LinkWrap : public Wrap<LinkWrap, Link> {
 public:
  using Wrap::Wrap;
  static constexpr const char* kName = "BpfLink";
  static constexpr napi_type_tag kTag = {0x3f0c1d52a9b84e03, 0x8a17c6d1e2f34b03};
  static Napi::FunctionReference& constructorOf(Context& context) { return context.linkClass; }
  static Napi::Function define(Napi::Env env);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value programTag(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value detach(const Napi::CallbackInfo& info);
  Napi::Value pin(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info) { return release(info); }
};

}  // namespace bailiff
