// See poller.h. libuv's handle must stay in memory until its close callback ran, so a Poller
// deletes itself.
#include "poller.h"

#include <utility>

#include "error.h"

namespace bailiff {

Poller* Poller::open(uv_loop_t* loop, int fd, std::function<void(int)> onReadable) {
  // SAFETY: released by close(), or below if libuv refuses; the owner keeps a plain pointer until it
  // calls close().
  auto* poller = new Poller();
  poller->onReadable_ = std::move(onReadable);
  int error = uv_poll_init(loop, &poller->handle_, fd);
  if (error < 0) {
    delete poller;
    fail("poll.open", error);
  }
  poller->handle_.data = poller;
  try {
    poller->resume();
  } catch (...) {
    poller->close({});
    throw;
  }
  return poller;
}

void Poller::resume() {
  int error = uv_poll_start(&handle_, UV_READABLE, [](uv_poll_t* handle, int status, int) {
    static_cast<Poller*>(handle->data)->onReadable_(status);
  });
  if (error < 0) fail("poll.start", error);
}

void Poller::close(std::function<void()> onClosed) {
  onClosed_ = std::move(onClosed);
  uv_poll_stop(&handle_);
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_), [](uv_handle_t* handle) {
    auto* self = static_cast<Poller*>(handle->data);
    std::function<void()> closed = std::move(self->onClosed_);
    delete self;
    if (closed) closed();
  });
}

}  // namespace bailiff
