// What this kernel lets this process do, found by trying it. Each answer is 0 or the errno that the attempt gave.
#pragma once

#include <cstdint>
#include <string>

namespace bailiff {

int probeProgramType(uint32_t type);                     // EOPNOTSUPP when the kernel does not know it
int probeMapType(uint32_t type);                         // likewise
int probeHelper(uint32_t programType, uint32_t helper);  // likewise
int probeTcx();                                          // load a one-line program and query the hook of loopback
int probeAtomics();                                      // load a program with an atomic that returns a value
int probeLsm(const std::string& hook);                   // load a program that allows everything at that LSM hook

}  // namespace bailiff
