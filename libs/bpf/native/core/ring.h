// Consumer of a BPF ring buffer: takes records up to a limit and packs them into one block. A batch
// is a sequence of frames: u32 length (host order), that many bytes, zero padding to a multiple of
// 8. Records keep the order of the ring; each record that was taken is delivered.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <memory>

#include "map.h"

namespace bailiff {

struct RingBatch {
  const Bytes& bytes;  // valid until the next take()
  uint32_t count;
};

class Ring {
 public:
  // maxRecords and maxBytes bound one batch. A record larger than maxBytes is a batch of its own.
  Ring(Fd mapFd, uint32_t maxRecords, uint32_t maxBytes);

  int epollFd() const { return ring_buffer__epoll_fd(handle_.get()); }
  RingBatch take();

 private:
  static int onRecord(void* self, void* data, size_t size);
  struct Closer {
    void operator()(struct ring_buffer* ring) const { ring_buffer__free(ring); }
  };

  Fd mapFd_;
  const uint32_t maxRecords_;
  const uint32_t maxBytes_;
  Bytes bytes_;
  uint32_t count_ = 0;
  std::unique_ptr<struct ring_buffer, Closer> handle_;  // SAFETY: freed before mapFd_, whose descriptor it watches
};

}  // namespace bailiff
