// Base of all wrapped classes. Objects are created only from native code. They are tagged, so that
// an argument of another class is a TypeError and not a misread pointer. A closed object is an
// ordinary error (errno EBADF, code BPF_CLOSED).
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>

#include "context.h"
#include "convert.h"

namespace bailiff {

template <typename Self, typename Core>
class Wrap : public Napi::ObjectWrap<Self> {
 public:
  explicit Wrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    if (info.Length() != 1 || !info[0].IsExternal()) {
      throw Napi::TypeError::New(info.Env(), std::string(Self::kName) + " cannot be constructed directly");
    }
    // SAFETY: only create() below passes an External, and it points at a unique_ptr on create()'s stack.
    core_ = std::move(*info[0].As<Napi::External<std::unique_ptr<Core>>>().Data());
    info.This().As<Napi::Object>().TypeTag(&Self::kTag);
  }

  static Napi::Object create(Napi::Env env, std::unique_ptr<Core> core) {
    Napi::Value external = Napi::External<std::unique_ptr<Core>>::New(env, &core);
    return Self::constructorOf(Context::of(env)).New({external});
  }

  // The open native object of an argument.
  static Core& argument(const Napi::Value& value, const char* name) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Self::kTag)) wrongType(name, Self::kName);
    // SAFETY: the tag is set on objects of this class only.
    return Self::Unwrap(value.As<Napi::Object>())->core();
  }

 protected:
  Core& core() {
    if (!core_) fail("closed", EBADF, std::string(Self::kName) + " is closed");
    return *core_;
  }
  bool isOpen() const { return core_ != nullptr; }

  // The close method of every class; may be repeated.
  Napi::Value release(const Napi::CallbackInfo& info) {
    core_.reset();
    return info.Env().Undefined();
  }

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace bailiff
