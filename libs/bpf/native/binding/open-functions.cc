// See functions.h. Order and names as in native.ts.
#include "../core/clsact.h"
#include "functions.h"
#include "link-wrap.h"
#include "map-wrap.h"
#include "monitor-wrap.h"
#include "object-wrap.h"
#include "program-wrap.h"
#include "ring-wrap.h"

namespace bailiff {
namespace {

using Info = const Napi::CallbackInfo&;

Napi::Value setErrorFactory(Info info) {
  return guarded(info.Env(), [&] {
    Context::of(info.Env()).setErrorFactory(toFunction(info[0], "factory"));
    return info.Env().Undefined();
  });
}

Napi::Value setLogger(Info info) {
  return guarded(info.Env(), [&] {
    if (!isUnset(info[0])) toFunction(info[0], "logger");
    uint32_t level = toU32(info[1], "maxLevel");
    if (level > static_cast<uint32_t>(LogLevel::kDebug)) wrongType("maxLevel", "0, 1 or 2");
    Context::of(info.Env()).setLogger(info[0], static_cast<LogLevel>(level));
    return info.Env().Undefined();
  });
}

Napi::Value openObject(Info info) {
  return guarded(info.Env(), [&] {
    std::string name = isUnset(info[1]) ? std::string() : toText(info[1], "name");
    if (info[0].IsString()) return BpfObjectWrap::create(info.Env(), Object::openFile(toText(info[0], "source"), name));
    return BpfObjectWrap::create(info.Env(), Object::openMemory(toBytes(info[0], "source"), name));
  });
}

Napi::Value createMap(Info info) {
  return guarded(info.Env(), [&] {
    return MapWrap::create(info.Env(), Map::create(toU32(info[0], "type"), toText(info[1], "name"),
                                                   toU32(info[2], "keySizeBytes"), toU32(info[3], "valueSizeBytes"),
                                                   toU32(info[4], "maxEntries"), toU32(info[5], "flags")));
  });
}

Napi::Value openPinnedMap(Info info) {
  return guarded(info.Env(), [&] { return MapWrap::create(info.Env(), Map::openPinned(toText(info[0], "path"))); });
}

Napi::Value openPinnedProgram(Info info) {
  return guarded(info.Env(),
                 [&] { return ProgramWrap::create(info.Env(), Program::openPinned(toText(info[0], "path"))); });
}

Napi::Value openPinnedLink(Info info) {
  return guarded(info.Env(), [&] { return LinkWrap::create(info.Env(), Link::openPinned(toText(info[0], "path"))); });
}

Napi::Value openProgramById(Info info) {
  return guarded(info.Env(), [&] { return ProgramWrap::create(info.Env(), Program::byId(toU32(info[0], "id"))); });
}

Napi::Value openRing(Info info) {
  return guarded(info.Env(), [&] {
    Map& map = MapWrap::argument(info[0], "map");
    Napi::Function onBatch = toFunction(info[1], "onBatch");
    uint32_t maxRecords = toU32(info[2], "maxRecords");
    uint32_t maxBytes = toU32(info[3], "maxBytes");
    if (maxRecords == 0 || maxBytes == 0) wrongType("maxRecords and maxBytes", "above 0");
    auto ring = std::make_unique<Ring>(Fd::duplicate(map.fd(), "ring.open"), maxRecords, maxBytes);
    return RingWrap::open(info.Env(), std::move(ring), onBatch);
  });
}

Napi::Value openLinkMonitor(Info info) {
  return guarded(info.Env(), [&] {
    Napi::Function onLinks = toFunction(info[0], "onLinks");
    Napi::Function onOverrun = toFunction(info[1], "onOverrun");
    auto monitor = std::make_unique<LinkMonitor>(toU32(info[2], "receiveBufferBytes"));
    return MonitorWrap::open(info.Env(), std::move(monitor), onLinks, onOverrun);
  });
}

Napi::Value queryTcxChain(Info info) {
  return guarded(info.Env(), [&] {
    TcxChain chain = queryTcx(toU32(info[0], "ifindex"), toU32(info[1], "attachType"));
    Napi::Array programs = Napi::Array::New(info.Env());
    for (const TcxMember& member : chain.programs) {
      Napi::Object out = Napi::Object::New(info.Env());
      out.Set("programId", member.programId);
      out.Set("linkId", member.linkId);
      programs.Set(programs.Length(), out);
    }
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("revision", Napi::BigInt::New(info.Env(), chain.revision));
    out.Set("programs", programs);
    return out;
  });
}

ClsactPlace toPlace(Info info) {
  return {toU32(info[0], "ifindex"), toBool(info[1], "ingress"), toU32(info[2], "priority"), toU32(info[3], "handle")};
}

Napi::Value queryClsactFilter(Info info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::optional<ClsactFilter> filter = queryClsact(toPlace(info));
    if (!filter) return info.Env().Null();
    return Napi::Number::New(info.Env(), filter->programId);
  });
}

Napi::Value detachClsactFilter(Info info) {
  return guarded(info.Env(), [&] {
    return Napi::Boolean::New(info.Env(), detachClsact(toPlace(info), toBool(info[4], "removeQdisc")));
  });
}

}  // namespace

void exportOpeners(Napi::Env env, Napi::Object exports) {
  exports.Set("setErrorFactory", Napi::Function::New<setErrorFactory>(env));
  exports.Set("setLogger", Napi::Function::New<setLogger>(env));
  exports.Set("openObject", Napi::Function::New<openObject>(env));
  exports.Set("createMap", Napi::Function::New<createMap>(env));
  exports.Set("openPinnedMap", Napi::Function::New<openPinnedMap>(env));
  exports.Set("openPinnedProgram", Napi::Function::New<openPinnedProgram>(env));
  exports.Set("openPinnedLink", Napi::Function::New<openPinnedLink>(env));
  exports.Set("openProgramById", Napi::Function::New<openProgramById>(env));
  exports.Set("openRing", Napi::Function::New<openRing>(env));
  exports.Set("openLinkMonitor", Napi::Function::New<openLinkMonitor>(env));
  exports.Set("queryTcx", Napi::Function::New<queryTcxChain>(env));
  exports.Set("queryClsact", Napi::Function::New<queryClsactFilter>(env));
  exports.Set("detachClsact", Napi::Function::New<detachClsactFilter>(env));
}

}  // namespace bailiff
