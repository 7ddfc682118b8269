// SPDX-License-Identifier: Apache-2.0
// The addon bailiff_bpf.node: a thin binding over libbpf, netlink and a few system calls, without
// policy. libs/bpf/src/core/native.ts declares its exports in the same order. Files under core/ do
// not use JavaScript. The binding is one unit, because napi.h takes most of the time to compile.
#include "../core/clsact.h"
#include "../core/libbpf-lines.h"
#include "../core/probe.h"
#include "../core/system.h"
#include "link-wrap.h"
#include "map-wrap.h"
#include "monitor-wrap.h"
#include "object-wrap.h"
#include "program-wrap.h"
#include "ring-wrap.h"

namespace bailiff {

Napi::Value toJs(Napi::Env env, const TcxMember& member) {
  return toObject(env, {{"programId", toJs(env, member.programId)}, {"linkId", toJs(env, member.linkId)}});
}

Napi::Value toJs(Napi::Env env, const PeerCredentials& peer) {
  return toObject(env, {{"uid", toJs(env, peer.uid)}, {"pid", toJs(env, peer.pid)}});
}

namespace {

ClsactPlace toPlace(Info info) {
  return {toU32(info[0], "ifindex"), toBool(info[1], "ingress"), toU32(info[2], "priority"), toU32(info[3], "handle")};
}

void addOpeners(Napi::Object exports) {
  addFunction(exports, "setErrorFactory",
              [](Info info) { Context::of(info.Env()).setErrorFactory(toFunction(info[0], "factory")); });
  addFunction(exports, "openObject", [](Info info) {
    std::string name = isUnset(info[1]) ? std::string() : toText(info[1], "name");
    if (info[0].IsString()) return BpfObjectWrap::create(info.Env(), Object::openFile(toText(info[0], "source"), name));
    return BpfObjectWrap::create(info.Env(), Object::openMemory(toBytes(info[0], "source"), name));
  });
  addFunction(exports, "createMap", [](Info info) {
    return MapWrap::create(info.Env(), Map::create(toU32(info[0], "type"), toText(info[1], "name"),
                                                   toU32(info[2], "keySizeBytes"), toU32(info[3], "valueSizeBytes"),
                                                   toU32(info[4], "maxEntries"), toU32(info[5], "flags")));
  });
  addFunction(exports, "openPinnedMap",
              [](Info info) { return MapWrap::create(info.Env(), Map::openPinned(toText(info[0], "path"))); });
  addFunction(exports, "openPinnedProgram",
              [](Info info) { return ProgramWrap::create(info.Env(), Program::openPinned(toText(info[0], "path"))); });
  addFunction(exports, "openPinnedLink",
              [](Info info) { return LinkWrap::create(info.Env(), Link::openPinned(toText(info[0], "path"))); });
  addFunction(exports, "openProgramById",
              [](Info info) { return ProgramWrap::create(info.Env(), Program::byId(toU32(info[0], "id"))); });
  addFunction(exports, "openRing", [](Info info) {
    Map& map = MapWrap::argument(info[0], "map");
    Napi::Function onBatch = toFunction(info[1], "onBatch");
    uint32_t maxRecords = toU32(info[2], "maxRecords");
    uint32_t maxBytes = toU32(info[3], "maxBytes");
    if (maxRecords == 0 || maxBytes == 0) wrongType("maxRecords and maxBytes", "above 0");
    auto ring = std::make_unique<Ring>(Fd::duplicate(map.fd(), "ring.open"), maxRecords, maxBytes);
    return RingWrap::open(info.Env(), std::move(ring), onBatch);
  });
  addFunction(exports, "openLinkMonitor", [](Info info) {
    Napi::Function onLinks = toFunction(info[0], "onLinks");
    Napi::Function onOverrun = toFunction(info[1], "onOverrun");
    auto monitor = std::make_unique<LinkMonitor>(toU32(info[2], "receiveBufferBytes"));
    return MonitorWrap::open(info.Env(), std::move(monitor), onLinks, onOverrun);
  });
  addFunction(exports, "queryTcx", [](Info info) {
    Napi::Env env = info.Env();
    TcxChain chain = queryTcx(toU32(info[0], "ifindex"), toU32(info[1], "attachType"));
    return toObject(env,
                    {{"revision", Napi::BigInt::New(env, chain.revision)}, {"programs", toJs(env, chain.programs)}});
  });
  addFunction(exports, "queryClsact", [](Info info) -> Napi::Value {
    Napi::Env env = info.Env();
    std::optional<ClsactState> filter = queryClsact(toPlace(info));
    if (!filter) return env.Null();
    return toObject(env, {{"programId", toJs(env, filter->programId)}, {"isFirst", toJs(env, filter->first)}});
  });
  addFunction(exports, "detachClsact",
              [](Info info) { return detachClsact(toPlace(info), toBool(info[4], "removeQdisc")); });
}

void addSystem(Napi::Object exports) {
  addFunction(exports, "dumpLinks", [](Info info) { return dumpLinks(toOptionalI32(info[0], "targetNetnsid")); });
  addFunction(exports, "dumpLinksOf", [](Info info) { return dumpLinksOf(toText(info[0], "kind")); });
  addFunction(exports, "firstLinks",
              [](Info info) { return firstLinks(toOptionalI32(info[0], "targetNetnsid"), toU32(info[1], "atMost")); });
  addFunction(exports, "getLink",
              [](Info info) { return getLink(toU32(info[0], "ifindex"), toOptionalI32(info[1], "targetNetnsid")); });
  addFunction(exports, "deleteLink", [](Info info) { return deleteLink(toU32(info[0], "ifindex")); });
  addFunction(exports, "dumpAddresses", [](Info) { return dumpAddresses(); });
  addFunction(exports, "dumpLocalNetworks", [](Info) { return dumpLocalNetworks(); });
  addFunction(exports, "getNsid", [](Info info) { return getNsid(toU32(info[0], "pid")); });
  addFunction(exports, "probeProgramType", [](Info info) { return probeProgramType(toU32(info[0], "type")); });
  addFunction(exports, "probeMapType", [](Info info) { return probeMapType(toU32(info[0], "type")); });
  addFunction(exports, "probeHelper",
              [](Info info) { return probeHelper(toU32(info[0], "programType"), toU32(info[1], "helper")); });
  addFunction(exports, "probeAtomics", [](Info) { return probeAtomics(); });
  addFunction(exports, "probeTcx", [](Info) { return probeTcx(); });
  addFunction(exports, "probeLsm", [](Info info) { return probeLsm(toText(info[0], "hook")); });
  addFunction(exports, "lsmHooks", [](Info) { return lsmHooks(); });
  addFunction(exports, "hasKernelFunction", [](Info info) { return hasKernelFunction(toText(info[0], "name")); });
  addFunction(exports, "possibleCpus", [](Info) { return possibleCpus(); });
  addFunction(exports, "boottimeNs", [](Info info) { return Napi::BigInt::New(info.Env(), boottimeNs()); });
  addFunction(exports, "cgroupId",
              [](Info info) { return Napi::BigInt::New(info.Env(), cgroupId(toText(info[0], "path"))); });
  addFunction(exports, "mountBpffs", [](Info info) { mountBpffs(toText(info[0], "path")); });
  addFunction(exports, "isBpffs", [](Info info) { return isBpffs(toText(info[0], "path")); });
  addFunction(exports, "releaseFilePages", [](Info) { return releaseFilePages(); });
  addFunction(exports, "isGroOn", [](Info info) { return isGroOn(toText(info[0], "interfaceName")); });
  addFunction(exports, "tryLock", [](Info info) { return tryLock(static_cast<int>(toU32(info[0], "fd"))); });
  addFunction(exports, "peerCredentials",
              [](Info info) { return peerCredentials(static_cast<int>(toU32(info[0], "fd"))); });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  dropLibbpfLines();
  // SAFETY: Node deletes instance data when the environment ends.
  auto* context = new Context(env);
  env.SetInstanceData<Context>(context);
  context->objectClass = BpfObjectWrap::define(env);
  context->mapClass = MapWrap::define(env);
  context->programClass = ProgramWrap::define(env);
  context->linkClass = LinkWrap::define(env);
  context->ringClass = RingWrap::define(env);
  context->monitorClass = MonitorWrap::define(env);
  addOpeners(exports);
  addSystem(exports);
  return exports;
}

NODE_API_MODULE(bailiff_bpf, init)

}  // namespace
}  // namespace bailiff
