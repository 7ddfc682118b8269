// libbpf prints through one callback per process. A binding call opens a LogScope. It keeps the
// lines that libbpf prints on this thread, and passes them to JavaScript when the call ends, never
// from inside libbpf. Lines without an open scope (another thread, a finalizer) wait in one bounded
// buffer for the next scope. Limits: kMaxScopeLines per call, kMaxStrayLines waiting; the last line
// counts the dropped ones.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace bailiff {

enum class LogLevel { kWarn = 0, kInfo = 1, kDebug = 2 };

struct LogLine {
  LogLevel level;
  std::string text;
};

constexpr size_t kMaxScopeLines = 4096;  // loading the largest object at debug level prints about 1,000 lines
constexpr size_t kMaxStrayLines = 256;

class LogScope {
 public:
  explicit LogScope(LogLevel maxLevel);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  // Returns the lines, the stray ones first, and empties the scope.
  std::vector<LogLine> take();

  // Returns the lines as one, without the stray lines.
  std::string text() const;

  LogLevel maxLevel() const { return maxLevel_; }
  void add(LogLevel level, std::string text);

 private:
  LogLevel maxLevel_;
  LogScope* outer_;  // SAFETY: scopes are stack objects of one thread and end in reverse order, so outer outlives this
  std::vector<LogLine> lines_;
  size_t dropped_ = 0;
};

// Installs the process-wide libbpf callback; harmless to repeat.
void installLogCallback();

}  // namespace bailiff
