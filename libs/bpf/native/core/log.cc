// See log.h. The callback itself allocates and locks, and never touches JavaScript.
#include "log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

namespace bailiff {
namespace {

// LOOP: each JavaScript thread (main or worker) has its own innermost scope, so no lock is needed for it.
thread_local LogScope* innermost = nullptr;  // SAFETY: set and reset by LogScope's constructor and destructor

std::mutex strayMutex;
std::vector<LogLine> strayLines;
size_t strayDropped = 0;

std::string format(const char* pattern, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = std::vsnprintf(nullptr, 0, pattern, again);
  va_end(again);
  if (length <= 0) return {};
  std::string text(static_cast<size_t>(length), '\0');
  // SAFETY: a std::string has room for the terminator behind its last character.
  std::vsnprintf(text.data(), text.size() + 1, pattern, arguments);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

int print(enum libbpf_print_level level, const char* pattern, va_list arguments) {
  auto ours = static_cast<LogLevel>(level);
  if (innermost != nullptr) {
    if (ours > innermost->maxLevel()) return 0;
    innermost->add(ours, format(pattern, arguments));
    return 0;
  }
  if (ours == LogLevel::kDebug) return 0;
  std::string text = format(pattern, arguments);
  std::lock_guard<std::mutex> lock(strayMutex);
  if (strayLines.size() >= kMaxStrayLines) {
    strayDropped++;
  } else {
    strayLines.push_back({ours, std::move(text)});
  }
  return 0;
}

std::string droppedText(size_t count) {
  return std::to_string(count) + " further libbpf lines were dropped";
}

}  // namespace

void installLogCallback() {
  libbpf_set_print(print);
}

LogScope::LogScope(LogLevel maxLevel) : maxLevel_(maxLevel), outer_(innermost) {
  innermost = this;
}

LogScope::~LogScope() {
  innermost = outer_;
}

void LogScope::add(LogLevel level, std::string text) {
  if (lines_.size() >= kMaxScopeLines) {
    dropped_++;
  } else {
    lines_.push_back({level, std::move(text)});
  }
}

std::vector<LogLine> LogScope::take() {
  std::vector<LogLine> all;
  {
    std::lock_guard<std::mutex> lock(strayMutex);
    all.swap(strayLines);
    if (strayDropped > 0) all.push_back({LogLevel::kWarn, droppedText(strayDropped)});
    strayDropped = 0;
  }
  for (auto& line : lines_) all.push_back(std::move(line));
  lines_.clear();
  if (dropped_ > 0) all.push_back({LogLevel::kWarn, droppedText(dropped_)});
  dropped_ = 0;
  return all;
}

std::string LogScope::text() const {
  std::string all;
  for (const auto& line : lines_) all += (all.empty() ? "" : "; ") + line.text;
  return all;
}

}  // namespace bailiff
