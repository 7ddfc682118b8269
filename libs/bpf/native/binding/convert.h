// Converts JavaScript values to native ones and back. A wrong type or a number out of range throws
// a TypeError that names the argument; nothing is coerced.
#pragma once

#include <napi.h>

#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/map.h"
#include "../core/rtnl.h"

namespace bailiff {

[[noreturn]] inline void wrongType(const char* name, const char* wanted) {
  throw std::invalid_argument(std::string(name) + " must be " + wanted);
}

inline uint32_t toU32(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) wrongType(name, "an unsigned 32-bit integer");
  double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= 4294967295.0) || std::floor(number) != number) {
    wrongType(name, "an unsigned 32-bit integer");
  }
  return static_cast<uint32_t>(number);
}

inline int32_t toI32(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) wrongType(name, "a 32-bit integer");
  double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= -2147483648.0 && number <= 2147483647.0) || std::floor(number) != number) {
    wrongType(name, "a 32-bit integer");
  }
  return static_cast<int32_t>(number);
}

inline uint64_t toU64(const Napi::Value& value, const char* name) {
  if (!value.IsBigInt()) wrongType(name, "an unsigned 64-bit bigint");
  bool lossless = false;
  uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) wrongType(name, "an unsigned 64-bit bigint");
  return number;
}

inline bool toBool(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) wrongType(name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

// Paths and names: the kernel would cut them at a NUL.
inline std::string toText(const Napi::Value& value, const char* name) {
  if (!value.IsString()) wrongType(name, "a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) wrongType(name, "a string without NUL");
  return text;
}

inline ByteView toBytes(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    wrongType(name, "a Buffer");
  }
  auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

/** A buffer that the call writes to. */
inline MutableByteView toMutableBytes(const Napi::Value& value, const char* name) {
  ByteView view = toBytes(value, name);
  return {value.As<Napi::Uint8Array>().Data(), view.size};
}

inline Napi::Function toFunction(const Napi::Value& value, const char* name) {
  if (!value.IsFunction()) wrongType(name, "a function");
  return value.As<Napi::Function>();
}

inline bool isUnset(const Napi::Value& value) {
  return value.IsNull();
}

inline std::optional<int32_t> toOptionalI32(const Napi::Value& value, const char* name) {
  if (isUnset(value)) return std::nullopt;
  return toI32(value, name);
}

// A record: an object with its fields, in the order and with the names of native.ts.
using Fields = std::initializer_list<std::pair<const char*, Napi::Value>>;

inline Napi::Object toObject(Napi::Env env, const Fields& fields) {
  Napi::Object out = Napi::Object::New(env);
  for (const auto& [name, value] : fields) out.Set(name, value);
  return out;
}

template <typename T>
Napi::Value toJs(Napi::Env env, const std::optional<T>& value);
template <typename T>
Napi::Value toJs(Napi::Env env, const std::vector<T>& list);

inline Napi::Value toJs(Napi::Env, const Napi::Value& value) {
  return value;
}
inline Napi::Value toJs(Napi::Env env, const std::string& text) {
  return Napi::String::New(env, text);
}
inline Napi::Value toJs(Napi::Env env, const Bytes& bytes) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size());
}
// A 64-bit value that JavaScript must not round is a BigInt, and is converted where it is returned.
template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
Napi::Value toJs(Napi::Env env, T value) {
  if constexpr (std::is_same_v<T, bool>) return Napi::Boolean::New(env, value);
  return Napi::Number::New(env, static_cast<double>(value));
}

inline Napi::Value toJs(Napi::Env env, const NetkitInfo& netkit) {
  return toObject(env, {{"primary", toJs(env, netkit.primary)}, {"peerDrops", toJs(env, netkit.peerDrops)}});
}

inline Napi::Value toJs(Napi::Env env, const AddressRecord& one) {
  return toObject(env, {{"ifindex", toJs(env, one.ifindex)},
                        {"address", toJs(env, one.address)},
                        {"prefixLength", toJs(env, one.prefixLength)}});
}

inline Napi::Value toJs(Napi::Env env, const LinkRecord& link) {
  return toObject(env, {
                           {"removed", toJs(env, link.removed)},
                           {"ifindex", toJs(env, link.ifindex)},
                           {"name", toJs(env, link.name)},
                           {"kind", toJs(env, link.kind)},
                           {"mac", toJs(env, link.mac)},
                           {"flags", toJs(env, link.flags)},
                           {"mtu", toJs(env, link.mtu)},
                           {"operstate", toJs(env, link.operstate)},
                           {"master", toJs(env, link.master)},
                           {"peerIfindex", toJs(env, link.peerIfindex)},
                           {"linkNetnsid", toJs(env, link.linkNetnsid)},
                           {"newNetnsid", toJs(env, link.newNetnsid)},
                           {"rxPackets", toJs(env, link.rxPackets)},
                           {"txPackets", toJs(env, link.txPackets)},
                           {"xdp", toJs(env, link.xdp)},
                           {"netkit", toJs(env, link.netkit)},
                       });
}

template <typename T>
Napi::Value toJs(Napi::Env env, const std::optional<T>& value) {
  return value ? toJs(env, *value) : env.Null();
}

template <typename T>
Napi::Value toJs(Napi::Env env, const std::vector<T>& list) {
  Napi::Array out = Napi::Array::New(env, list.size());
  for (uint32_t i = 0; i < list.size(); i++) out.Set(i, toJs(env, list[i]));
  return out;
}

}  // namespace bailiff
