// A descriptor watched by a libuv loop.
// LOOP: created, started and closed on the thread that runs the loop; the callback runs there too.
#pragma once

#include <uv.h>

#include <functional>

namespace bailiff {

class Poller {
 public:
  // `onReadable` gets 0, or a negative errno if the descriptor has an error (EPOLLERR is UV_EBADF).
  // libuv then stops watching it until resume(). Throws NativeError.
  static Poller* open(uv_loop_t* loop, int fd, std::function<void(int)> onReadable);
  void resume();

  // Stops watching at once, so the descriptor may be closed right after. Deletes this one loop turn
  // later and then calls `onClosed` (may be empty). No callback runs after close().
  void close(std::function<void()> onClosed);

 private:
  Poller() = default;
  ~Poller() = default;

  uv_poll_t handle_;
  std::function<void(int)> onReadable_;
  std::function<void()> onClosed_;
};

}  // namespace bailiff
