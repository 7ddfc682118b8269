// SPDX-License-Identifier: Apache-2.0
// The binding as one unit: one by one, its files take three times as long to compile, because each
// includes napi.h.
#include "context.cc"
#include "convert.cc"
#include "js-callback.cc"
#include "link-wrap.cc"
#include "loop-handle.cc"
#include "map-wrap.cc"
#include "module.cc"
#include "monitor-wrap.cc"
#include "object-wrap.cc"
#include "open-functions.cc"
#include "program-wrap.cc"
#include "ring-wrap.cc"
#include "system-functions.cc"
