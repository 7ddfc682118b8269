// See context.h.
#include "context.h"

#include "js-callback.h"

namespace bailiff {
namespace {

const char* levelName(LogLevel level) {
  switch (level) {
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kInfo:
      return "info";
    default:
      return "debug";
  }
}

}  // namespace

void Context::setLogger(Napi::Value logger, LogLevel maxLevel) {
  logLevel_ = maxLevel;
  if (logger.IsFunction()) {
    logger_ = Napi::Persistent(logger.As<Napi::Function>());
  } else {
    logger_.Reset();
  }
}

Napi::Value Context::toError(const NativeError& error) {
  if (!errorFactory_.IsEmpty()) {
    Napi::Value verifierLog = error.verifierLog.empty() ? env_.Null() : Napi::String::New(env_, error.verifierLog);
    return errorFactory_.Call({Napi::String::New(env_, error.operation), Napi::Number::New(env_, error.error),
                               Napi::String::New(env_, error.detail), verifierLog});
  }
  Napi::Error plain =
      Napi::Error::New(env_, error.operation + ": errno " + std::to_string(error.error) + " " + error.detail);
  return plain.Value();
}

void Context::deliver(const std::vector<LogLine>& lines) {
  if (lines.empty() || logger_.IsEmpty()) return;
  Napi::HandleScope handles(env_);
  for (const LogLine& line : lines) {
    callOrReport(env_, logger_.Value(),
                 {Napi::String::New(env_, levelName(line.level)), Napi::String::New(env_, line.text)});
  }
}

}  // namespace bailiff
