// The free functions of the addon, in the order of native.ts.
#pragma once

#include <napi.h>

namespace bailiff {

// Opening and making objects, and what hangs on an interface rather than on an object.
void exportOpeners(Napi::Env env, Napi::Object exports);

// Netlink, probes and facts of the system.
void exportSystem(Napi::Env env, Napi::Object exports);

}  // namespace bailiff
