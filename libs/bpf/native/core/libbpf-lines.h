// libbpf prints through one callback per process. Its lines are dropped, except those of a call
// that wants them for an error. Limit: kMaxTextBytes.
#pragma once

#include <cstddef>
#include <string>

namespace bailiff {

constexpr size_t kMaxTextBytes = 4096;

// Installs the callback; harmless to repeat.
void dropLibbpfLines();

// Collects what libbpf prints on this thread, of level warn and info, while it exists. Not nested.
class LibbpfLines {
 public:
  LibbpfLines();
  ~LibbpfLines();
  LibbpfLines(const LibbpfLines&) = delete;
  LibbpfLines& operator=(const LibbpfLines&) = delete;

  // All lines as one.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace bailiff
