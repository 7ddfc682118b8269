// See convert.h. Field names and order are those of native.ts.
#include "convert.h"

#include <sys/socket.h>

namespace bailiff {

Napi::Object fromMapInfo(Napi::Env env, const MapInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", info.name);
  out.Set("id", info.id);
  out.Set("type", info.type);
  out.Set("keySizeBytes", info.keySizeBytes);
  out.Set("valueSizeBytes", info.valueSizeBytes);
  out.Set("maxEntries", info.maxEntries);
  out.Set("flags", info.flags);
  out.Set("valueBlockBytes", static_cast<double>(info.valueBlockBytes));
  return out;
}

Napi::Object fromLink(Napi::Env env, const LinkRecord& link) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("removed", link.removed);
  out.Set("ifindex", link.ifindex);
  out.Set("name", link.name);
  out.Set("kind", link.kind);
  out.Set("mac", link.mac);
  out.Set("flags", link.flags);
  out.Set("mtu", link.mtu);
  out.Set("operstate", link.operstate);
  out.Set("master", fromOptional(env, link.master));
  out.Set("peerIfindex", fromOptional(env, link.peerIfindex));
  out.Set("linkNetnsid", fromOptional(env, link.linkNetnsid));
  out.Set("newNetnsid", fromOptional(env, link.newNetnsid));
  out.Set("rxPackets", fromOptional(env, link.rxPackets));
  out.Set("txPackets", fromOptional(env, link.txPackets));
  out.Set("xdp", link.xdp);
  out.Set("netkit", env.Null());
  if (link.netkit) {
    Napi::Object netkit = Napi::Object::New(env);
    netkit.Set("primary", link.netkit->primary);
    netkit.Set("peerDrops", link.netkit->peerDrops);
    out.Set("netkit", netkit);
  }
  return out;
}

Napi::Object fromAddress(Napi::Env env, const AddressRecord& address) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("ifindex", address.ifindex);
  out.Set("family", address.family == AF_INET6 ? 6 : 4);
  out.Set("address", address.address);
  out.Set("prefixLength", static_cast<uint32_t>(address.prefixLength));
  out.Set("scope", static_cast<uint32_t>(address.scope));
  out.Set("flags", address.flags);
  return out;
}

}  // namespace bailiff
