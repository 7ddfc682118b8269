// A descriptor of a wrapped object, watched by the environment's loop. It closes itself when the
// environment ends, and makes the environment wait for libuv's close callback: a worker whose loop
// still has handles aborts.
// LOOP: everything on the environment's own thread.
#pragma once

#include <napi.h>

#include <functional>

#include "../core/poller.h"

namespace bailiff {

class LoopHandle {
 public:
  // `onReadable` as in poller.h. `onTeardown` runs if the environment ends before close() was called,
  // after the descriptor is no longer watched. It must not call into JavaScript.
  LoopHandle(Napi::Env env, int fd, std::function<void(int)> onReadable, std::function<void()> onTeardown);
  ~LoopHandle() { close(); }
  LoopHandle(const LoopHandle&) = delete;
  LoopHandle& operator=(const LoopHandle&) = delete;

  void resume() {
    if (poller_ != nullptr) poller_->resume();
  }
  void close();  // at once; may be repeated
  void ref() {
    if (poller_ != nullptr) poller_->ref();
  }
  void unref() {
    if (poller_ != nullptr) poller_->unref();
  }

 private:
  // State that libuv and the environment still point at after this is destroyed; freed by libuv's
  // close callback.
  struct Registration {
    LoopHandle* owner;  // SAFETY: reset by close(), which the owner's destructor calls
    napi_async_cleanup_hook_handle hook;
  };

  Poller* poller_ = nullptr;              // SAFETY: alive until close(), which clears it; deletes itself afterwards
  Registration* registration_ = nullptr;  // SAFETY: likewise
  std::function<void()> onTeardown_;
};

}  // namespace bailiff
