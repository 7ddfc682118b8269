// See ring.h.
#include "ring.h"

#include <cstring>

namespace bailiff {
namespace {

// Stops libbpf. It has already advanced past the current record (libbpf ringbuf.c,
// ringbuf_process_ring), which is in the batch.
constexpr int kBatchFull = -ECANCELED;

}  // namespace

Ring::Ring(Fd mapFd, uint32_t maxRecords, uint32_t maxBytes)
    : mapFd_(std::move(mapFd)), maxRecords_(maxRecords), maxBytes_(maxBytes) {
  // SAFETY: libbpf keeps `this` as the callback's context; a Ring is neither copied nor moved.
  handle_.reset(ring_buffer__new(mapFd_.get(), onRecord, this, nullptr));
  if (!handle_) fail("ring.open", errno);
}

int Ring::onRecord(void* self, void* data, size_t size) {
  auto* ring = static_cast<Ring*>(self);
  uint32_t length = static_cast<uint32_t>(size);
  size_t start = ring->bytes_.size();
  ring->bytes_.resize((start + sizeof(length) + size + 7) & ~size_t{7});
  // SAFETY: data is the record inside the ring's mapping, `size` bytes, valid until this function
  // returns.
  std::memcpy(ring->bytes_.data() + start, &length, sizeof(length));
  std::memcpy(ring->bytes_.data() + start + sizeof(length), data, size);
  ring->count_++;
  return ring->count_ >= ring->maxRecords_ || ring->bytes_.size() >= ring->maxBytes_ ? kBatchFull : 0;
}

RingBatch Ring::take() {
  bytes_.clear();
  count_ = 0;
  int result = ring_buffer__consume(handle_.get());
  if (result < 0 && result != kBatchFull) fail("ring.take", result);
  return {bytes_, count_};
}

}  // namespace bailiff
