// Probes what the kernel allows this process, by trying it. Each result is 0 or the errno of the
// attempt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bailiff {

int probeProgramType(uint32_t type);                     // EOPNOTSUPP if the kernel does not have it
int probeMapType(uint32_t type);                         // likewise
int probeHelper(uint32_t programType, uint32_t helper);  // likewise
int probeTcx();                                          // loads a one-line program and queries the hook of loopback
int probeAtomics();                                      // loads a program with an atomic that returns a value
int probeLsm(const std::string& hook);                   // loads a program that allows everything at that LSM hook

std::vector<std::string> lsmHooks();              // all that the kernel has, from its BTF; throws if it has none
bool hasKernelFunction(const std::string& name);  // likewise

}  // namespace bailiff
