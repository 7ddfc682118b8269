// See functions.h. Order and names as in native.ts.
#include "../core/probe.h"
#include "../core/system.h"
#include "context.h"
#include "convert.h"
#include "functions.h"

namespace bailiff {
namespace {

using Info = const Napi::CallbackInfo&;

Napi::Array fromLinks(Napi::Env env, const std::vector<LinkRecord>& links) {
  Napi::Array list = Napi::Array::New(env);
  for (const LinkRecord& link : links) list.Set(list.Length(), fromLink(env, link));
  return list;
}

Napi::Value dumpLinksOf(Info info) {
  return guarded(info.Env(),
                 [&] { return fromLinks(info.Env(), dumpLinks(toOptionalI32(info[0], "targetNetnsid"))); });
}

Napi::Value firstLinksOf(Info info) {
  return guarded(info.Env(), [&] {
    return fromLinks(info.Env(), firstLinks(toOptionalI32(info[0], "targetNetnsid"), toU32(info[1], "atMost")));
  });
}

Napi::Value getLinkOf(Info info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::optional<LinkRecord> link = getLink(toU32(info[0], "ifindex"), toOptionalI32(info[1], "targetNetnsid"));
    return link ? fromLink(info.Env(), *link) : info.Env().Null();
  });
}

Napi::Value dumpAddressesOf(Info info) {
  return guarded(info.Env(), [&] {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const AddressRecord& address : dumpAddresses(toOptionalI32(info[0], "targetNetnsid"))) {
      list.Set(list.Length(), fromAddress(info.Env(), address));
    }
    return list;
  });
}

Napi::Value dumpLocalNetworksOf(Info info) {
  return guarded(info.Env(), [&] {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const std::string& network : dumpLocalNetworks()) list.Set(list.Length(), network);
    return list;
  });
}

Napi::Value getNsidOf(Info info) {
  return guarded(info.Env(), [&] {
    return fromOptional(info.Env(), getNsid(toOptionalU32(info[0], "pid"), toOptionalU32(info[1], "fd")));
  });
}

Napi::Value probeProgramTypeOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), probeProgramType(toU32(info[0], "type"))); });
}

Napi::Value probeMapTypeOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), probeMapType(toU32(info[0], "type"))); });
}

Napi::Value probeHelperOf(Info info) {
  return guarded(info.Env(), [&] {
    return Napi::Number::New(info.Env(), probeHelper(toU32(info[0], "programType"), toU32(info[1], "helper")));
  });
}

Napi::Value probeAtomicsOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), probeAtomics()); });
}

Napi::Value probeTcxOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), probeTcx()); });
}

Napi::Value probeLsmOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), probeLsm(toText(info[0], "hook"))); });
}

Napi::Value lsmHooksOf(Info info) {
  return guarded(info.Env(), [&] {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const std::string& hook : lsmHooks()) list.Set(list.Length(), hook);
    return list;
  });
}

Napi::Value hasKernelFunctionOf(Info info) {
  return guarded(info.Env(),
                 [&] { return Napi::Boolean::New(info.Env(), hasKernelFunction(toText(info[0], "name"))); });
}

Napi::Value possibleCpusOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), possibleCpus()); });
}

Napi::Value boottimeNsOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::BigInt::New(info.Env(), boottimeNs()); });
}

Napi::Value cgroupIdOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::BigInt::New(info.Env(), cgroupId(toText(info[0], "path"))); });
}

Napi::Value mountBpffsAt(Info info) {
  return guarded(info.Env(), [&] {
    mountBpffs(toText(info[0], "path"));
    return info.Env().Undefined();
  });
}

Napi::Value isBpffsAt(Info info) {
  return guarded(info.Env(), [&] { return Napi::Boolean::New(info.Env(), isBpffs(toText(info[0], "path"))); });
}

Napi::Value releaseFilePagesOf(Info info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), static_cast<double>(releaseFilePages())); });
}

Napi::Value isGroOnAt(Info info) {
  return guarded(info.Env(), [&] { return Napi::Boolean::New(info.Env(), isGroOn(toText(info[0], "interfaceName"))); });
}

Napi::Value tryLockOf(Info info) {
  return guarded(info.Env(), [&] {
    return Napi::Boolean::New(info.Env(), tryLock(static_cast<int>(toU32(info[0], "fd"))));
  });
}

Napi::Value peerCredentialsOf(Info info) {
  return guarded(info.Env(), [&] {
    const PeerCredentials peer = peerCredentials(static_cast<int>(toU32(info[0], "fd")));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("uid", peer.uid);
    result.Set("pid", peer.pid);
    return result;
  });
}

}  // namespace

void exportSystem(Napi::Env env, Napi::Object exports) {
  exports.Set("dumpLinks", Napi::Function::New<dumpLinksOf>(env));
  exports.Set("firstLinks", Napi::Function::New<firstLinksOf>(env));
  exports.Set("getLink", Napi::Function::New<getLinkOf>(env));
  exports.Set("dumpAddresses", Napi::Function::New<dumpAddressesOf>(env));
  exports.Set("dumpLocalNetworks", Napi::Function::New<dumpLocalNetworksOf>(env));
  exports.Set("getNsid", Napi::Function::New<getNsidOf>(env));
  exports.Set("probeProgramType", Napi::Function::New<probeProgramTypeOf>(env));
  exports.Set("probeMapType", Napi::Function::New<probeMapTypeOf>(env));
  exports.Set("probeHelper", Napi::Function::New<probeHelperOf>(env));
  exports.Set("probeAtomics", Napi::Function::New<probeAtomicsOf>(env));
  exports.Set("probeTcx", Napi::Function::New<probeTcxOf>(env));
  exports.Set("probeLsm", Napi::Function::New<probeLsmOf>(env));
  exports.Set("lsmHooks", Napi::Function::New<lsmHooksOf>(env));
  exports.Set("hasKernelFunction", Napi::Function::New<hasKernelFunctionOf>(env));
  exports.Set("possibleCpus", Napi::Function::New<possibleCpusOf>(env));
  exports.Set("boottimeNs", Napi::Function::New<boottimeNsOf>(env));
  exports.Set("cgroupId", Napi::Function::New<cgroupIdOf>(env));
  exports.Set("mountBpffs", Napi::Function::New<mountBpffsAt>(env));
  exports.Set("isBpffs", Napi::Function::New<isBpffsAt>(env));
  exports.Set("releaseFilePages", Napi::Function::New<releaseFilePagesOf>(env));
  exports.Set("isGroOn", Napi::Function::New<isGroOnAt>(env));
  exports.Set("tryLock", Napi::Function::New<tryLockOf>(env));
  exports.Set("peerCredentials", Napi::Function::New<peerCredentialsOf>(env));
}

}  // namespace bailiff
