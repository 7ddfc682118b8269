// A descriptor of a wrapped object, watched by the environment's loop. It closes itself when the
// environment ends, and makes the environment wait for libuv's close callback: a worker whose loop
// still has handles aborts.
// LOOP: everything on the environment's own thread.
#pragma once

#include <napi.h>

#include <functional>
#include <utility>

#include "../core/error.h"
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

inline LoopHandle::LoopHandle(Napi::Env env, int fd, std::function<void(int)> onReadable,
                              std::function<void()> onTeardown)
    : onTeardown_(std::move(onTeardown)) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) fail("poll.open", ENOSYS, "this environment has no loop");
  poller_ = Poller::open(loop, fd, std::move(onReadable));
  registration_ = new Registration{this, nullptr};
  napi_status status = napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void* data) {
        LoopHandle* owner = static_cast<Registration*>(data)->owner;
        if (owner == nullptr) return;  // closed already; libuv's callback will remove the hook
        owner->close();
        if (owner->onTeardown_) owner->onTeardown_();
      },
      registration_, &registration_->hook);
  if (status != napi_ok) {
    delete registration_;
    poller_->close({});
    fail("poll.open", ENOMEM, "no cleanup hook");
  }
}

// In both cases the hook is removed only after libuv has closed the handle.
inline void LoopHandle::close() {
  if (poller_ == nullptr) return;
  Registration* registration = std::exchange(registration_, nullptr);
  registration->owner = nullptr;
  std::exchange(poller_, nullptr)->close([registration] {
    napi_remove_async_cleanup_hook(registration->hook);
    delete registration;
  });
}

}  // namespace bailiff
