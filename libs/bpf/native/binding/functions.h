// The free functions of the addon, in the order of native.ts.
#pragma once

#include <napi.h>

namespace bailiff {

// Functions that open and create objects, and those about interfaces.
void exportOpeners(Napi::Env env, Napi::Object exports);

// Netlink, probes and facts of the system.
void exportSystem(Napi::Env env, Napi::Object exports);

}  // namespace bailiff
