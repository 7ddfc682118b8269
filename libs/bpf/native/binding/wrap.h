// Base of all wrapped classes. Objects are created only from native code. They are tagged, so that
// an argument or receiver of another class is a TypeError and not a misread pointer. A closed object
// is an ordinary error (errno EBADF, code BPF_CLOSED).
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "context.h"

namespace bailiff {

template <typename Self, typename Core>
class Wrap : public Napi::ObjectWrap<Self> {
 public:
  explicit Wrap(Info info) : Napi::ObjectWrap<Self>(info) {
    if (info.Length() != 1 || !info[0].IsExternal()) {
      throw Napi::TypeError::New(info.Env(), std::string(Self::kName) + " cannot be constructed directly");
    }
    // SAFETY: only create() below passes an External, and it points at a unique_ptr on create()'s stack.
    core_ = std::move(*info[0].As<Napi::External<std::unique_ptr<Core>>>().Data());
    info.This().As<Napi::Object>().TypeTag(&Self::kTag);
  }

  static Napi::FunctionReference define(Napi::Env env) {
    Napi::Function constructor =
        Wrap::DefineClass(env, Self::kName, std::vector<Napi::ClassPropertyDescriptor<Self>>());
    Napi::Object prototype = constructor.Get("prototype").As<Napi::Object>();
    Self::addMethods(prototype);
    addMethod(prototype, "close", [](Self& self, Info) { self.close(); });
    return Napi::Persistent(constructor);
  }

  static Napi::Object create(Napi::Env env, std::unique_ptr<Core> core) {
    Napi::Value external = Napi::External<std::unique_ptr<Core>>::New(env, &core);
    return Self::constructorOf(Context::of(env)).New({external});
  }

  // The open native object of an argument.
  static Core& argument(const Napi::Value& value, const char* name) { return unwrapped(value, name).core(); }

  // May be repeated.
  void close() {
    static_cast<Self*>(this)->stop();
    core_.reset();
  }

 protected:
  // Adds a method; `body` gets the object and the arguments, as in addFunction.
  template <typename Body>
  static void addMethod(Napi::Object prototype, const char* name, Body body) {
    addFunction(prototype, name, [body](Info info) { return body(unwrapped(info.This(), "this"), info); });
  }

  Core& core() {
    if (!core_) fail("closed", EBADF, std::string(Self::kName) + " is closed");
    return *core_;
  }
  bool isOpen() const { return core_ != nullptr; }

  // For classes that watch a descriptor.
  void stop() {}

 private:
  static Self& unwrapped(const Napi::Value& value, const char* name) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Self::kTag)) wrongType(name, Self::kName);
    // SAFETY: the tag is set on objects of this class only.
    return *Self::Unwrap(value.As<Napi::Object>());
  }

  std::unique_ptr<Core> core_;
};

}  // namespace bailiff
