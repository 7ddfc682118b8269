// A BPF map by descriptor: look up, update, delete, iterate, pin. It does not interpret keys or
// values. The value of a per-CPU map is one block of possible CPUs × the value size rounded up to
// 8, as the kernel copies it. Limit: an iteration returns at most kMaxIterationEntries entries.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fd.h"

namespace bailiff {

using Bytes = std::vector<uint8_t>;

// Bytes borrowed from the caller during one call.
struct ByteView {
  const uint8_t* data;  // SAFETY: points into a JavaScript buffer that the call's arguments keep alive
  size_t size;
};

struct MutableByteView {
  uint8_t* data;  // SAFETY: as above
  size_t size;
};

struct MapInfo {
  std::string name;
  uint32_t id;
  uint32_t type;
  uint32_t keySizeBytes;
  uint32_t valueSizeBytes;
  uint32_t maxEntries;
  uint32_t flags;
  size_t valueBlockBytes;  // size of one look-up; larger than valueSizeBytes for per-CPU maps
};

struct MapEntries {
  Bytes keys;
  Bytes values;
  uint32_t count = 0;
};

constexpr uint32_t kMaxIterationEntries = 1u << 22;  // against a map that grows faster than it is read

MapInfo readMapInfo(int fd, const char* operation);
uint32_t possibleCpus();

class Map {
 public:
  explicit Map(Fd fd);
  static std::unique_ptr<Map> create(uint32_t type, const std::string& name, uint32_t keySizeBytes,
                                     uint32_t valueSizeBytes, uint32_t maxEntries, uint32_t flags);
  static std::unique_ptr<Map> openPinned(const std::string& path);

  const MapInfo& info() const { return info_; }
  int fd() const { return fd_.get(); }

  std::optional<Bytes> lookup(ByteView key) const;
  bool lookupInto(ByteView key, MutableByteView value) const;  // false if there is no such key
  void update(ByteView key, ByteView value, uint64_t flags);
  bool remove(ByteView key);  // false if there was no such key
  MapEntries entries() const;
  uint32_t count() const;  // reads keys only, because values can be large
  void pin(const std::string& path) const { pinDescriptorOf(path); }

 private:
  void checkKey(ByteView key) const;
  void checkValue(size_t sizeBytes) const;
  void pinDescriptorOf(const std::string& path) const;
  bool walkByBatch(MapEntries& out) const;
  void walkByKey(MapEntries& out) const;

  Fd fd_;
  MapInfo info_;
};

}  // namespace bailiff
