// See libbpf-lines.h. The callback itself allocates, and never touches JavaScript.
#include "libbpf-lines.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace bailiff {
namespace {

// LOOP: each JavaScript thread (main or worker) has its own, so no lock is needed for it.
thread_local std::string* collected = nullptr;  // SAFETY: set and reset by LibbpfLines

int print(enum libbpf_print_level level, const char* pattern, va_list arguments) {
  if (collected == nullptr || level > LIBBPF_INFO) return 0;
  char line[512];
  std::vsnprintf(line, sizeof(line), pattern, arguments);
  std::string text = line;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (collected->size() + text.size() <= kMaxTextBytes) *collected += (collected->empty() ? "" : "; ") + text;
  return 0;
}

}  // namespace

void dropLibbpfLines() {
  libbpf_set_print(print);
}

LibbpfLines::LibbpfLines() {
  collected = &text_;
}

LibbpfLines::~LibbpfLines() {
  collected = nullptr;
}

}  // namespace bailiff
