// libbpf prints through one callback per process. A binding call opens a LogScope; lines printed by libbpf on this
// thread while it is open are kept in it and handed to JavaScript when the call ends, never from inside libbpf.
// Lines printed with no scope open (another thread, a finalizer) wait in one bounded buffer for the next scope.
// Bounds: kMaxScopeLines a call, kMaxStrayLines waiting; what is over is counted in the last line.
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

constexpr size_t kMaxScopeLines = 4096;  // loading the largest object at debug level prints about a thousand
constexpr size_t kMaxStrayLines = 256;

class LogScope {
 public:
  explicit LogScope(LogLevel maxLevel);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  // The lines so far, the stray ones first; empties the scope.
  std::vector<LogLine> take();

  // What was printed so far, in one line, without touching the stray lines.
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
