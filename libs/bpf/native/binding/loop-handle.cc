// See loop-handle.h.
#include "loop-handle.h"

#include <utility>

#include "../core/error.h"

namespace bailiff {

LoopHandle::LoopHandle(Napi::Env env, int fd, std::function<void(int)> onReadable, std::function<void()> onTeardown)
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
void LoopHandle::close() {
  if (poller_ == nullptr) return;
  Registration* registration = std::exchange(registration_, nullptr);
  registration->owner = nullptr;
  std::exchange(poller_, nullptr)->close([registration] {
    napi_remove_async_cleanup_hook(registration->hook);
    delete registration;
  });
}

}  // namespace bailiff
