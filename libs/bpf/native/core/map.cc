// See map.h.
#include "map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <unordered_set>

#include "pin.h"

namespace bailiff {
namespace {

constexpr uint32_t kBatchEntries = 256;
constexpr int kNotSupportedInKernel = 524;  // ENOTSUPP, which libc has no name for

bool isPerCpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

bool isFdValued(uint32_t type) {
  return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS || type == BPF_MAP_TYPE_PROG_ARRAY;
}

}  // namespace

uint32_t possibleCpus() {
  int count = libbpf_num_possible_cpus();
  if (count < 0) fail("possibleCpus", count);
  return static_cast<uint32_t>(count);
}

MapInfo readMapInfo(int fd, const char* operation) {
  struct bpf_map_info raw = {};
  uint32_t size = sizeof(raw);
  int error = bpf_map_get_info_by_fd(fd, &raw, &size);
  if (error < 0) fail(operation, error, "reading map info");
  MapInfo info;
  info.name = raw.name;
  info.id = raw.id;
  info.type = raw.type;
  info.keySizeBytes = raw.key_size;
  info.valueSizeBytes = raw.value_size;
  info.maxEntries = raw.max_entries;
  info.flags = raw.map_flags;
  size_t rounded = (static_cast<size_t>(raw.value_size) + 7) & ~size_t{7};
  info.valueBlockBytes = isPerCpu(raw.type) ? rounded * possibleCpus() : raw.value_size;
  return info;
}

Map::Map(Fd fd) : fd_(std::move(fd)), info_(readMapInfo(fd_.get(), "map.open")) {}

std::unique_ptr<Map> Map::create(uint32_t type, const std::string& name, uint32_t keySizeBytes, uint32_t valueSizeBytes,
                                 uint32_t maxEntries, uint32_t flags) {
  auto options = zeroedOptions<struct bpf_map_create_opts>();
  options.map_flags = flags;
  int fd = bpf_map_create(static_cast<enum bpf_map_type>(type), name.c_str(), keySizeBytes, valueSizeBytes, maxEntries,
                          &options);
  if (fd < 0) fail("map.create", fd, name);
  return std::make_unique<Map>(Fd(fd));
}

std::unique_ptr<Map> Map::openPinned(const std::string& path) {
  return std::make_unique<Map>(openPin(path, PinKind::kMap, "map.openPinned"));
}

void Map::checkKey(ByteView key) const {
  if (key.size != info_.keySizeBytes) {
    throw std::invalid_argument("map " + info_.name + ": key must have " + std::to_string(info_.keySizeBytes) +
                                " bytes, not " + std::to_string(key.size));
  }
}

void Map::checkValue(size_t sizeBytes) const {
  if (sizeBytes != info_.valueBlockBytes) {
    throw std::invalid_argument("map " + info_.name + ": value must have " + std::to_string(info_.valueBlockBytes) +
                                " bytes, not " + std::to_string(sizeBytes));
  }
}

std::optional<Bytes> Map::lookup(ByteView key) const {
  Bytes value(info_.valueBlockBytes);
  if (!lookupInto(key, {value.data(), value.size()})) return std::nullopt;
  return value;
}

bool Map::lookupInto(ByteView key, MutableByteView value) const {
  checkKey(key);
  checkValue(value.size);
  // SAFETY: key has keySizeBytes and value valueBlockBytes, which is what the kernel reads and writes.
  int error = bpf_map_lookup_elem(fd_.get(), key.data, value.data);
  if (error == -ENOENT) return false;
  if (error < 0) fail("map.get", error, info_.name);
  return true;
}

void Map::update(ByteView key, ByteView value, uint64_t flags) {
  checkKey(key);
  checkValue(value.size);
  int error = bpf_map_update_elem(fd_.get(), key.data, value.data, flags);
  if (error < 0) fail("map.set", error, info_.name);
}

bool Map::remove(ByteView key) {
  checkKey(key);
  int error = bpf_map_delete_elem(fd_.get(), key.data);
  if (error == -ENOENT) return false;
  if (error < 0) fail("map.delete", error, info_.name);
  return true;
}

void Map::pinDescriptorOf(const std::string& path) const {
  pinDescriptor(fd_.get(), path, "map.pin");
}

MapEntries Map::entries() const {
  MapEntries out;
  if (info_.type == BPF_MAP_TYPE_RINGBUF || info_.keySizeBytes == 0) fail("map.entries", EOPNOTSUPP, info_.name);
  if (isFdValued(info_.type) || !walkByBatch(out)) {
    out = MapEntries();
    walkByKey(out);
  }
  return out;
}

// If a key is deleted during the iteration, the kernel starts over. The count may then be too high,
// but never above maxEntries.
uint32_t Map::count() const {
  if (info_.type == BPF_MAP_TYPE_RINGBUF || info_.keySizeBytes == 0) fail("map.count", EOPNOTSUPP, info_.name);
  Bytes key(info_.keySizeBytes), next(info_.keySizeBytes);
  uint32_t count = 0;
  while (count < info_.maxEntries) {
    // SAFETY: both have keySizeBytes bytes, which is what the kernel reads and writes.
    int error = bpf_map_get_next_key(fd_.get(), count == 0 ? nullptr : key.data(), next.data());
    if (error == -ENOENT) break;
    if (error < 0) fail("map.count", error, info_.name);
    key.swap(next);
    count++;
  }
  return count;
}

// Returns false if the kernel has no batch operation for this map type; nothing was read then.
bool Map::walkByBatch(MapEntries& out) const {
  // The position token is a bucket number (4 bytes) for hashes, a key for other types.
  size_t tokenBytes = std::max<size_t>(info_.keySizeBytes, sizeof(uint32_t));
  Bytes from(tokenBytes), to(tokenBytes);
  auto options = zeroedOptions<struct bpf_map_batch_opts>();
  uint32_t capacity = std::min(kBatchEntries, std::max(info_.maxEntries, 1u));
  bool first = true;
  for (;;) {
    if (out.count > kMaxIterationEntries) fail("map.entries", E2BIG, info_.name);
    out.keys.resize(static_cast<size_t>(out.count + capacity) * info_.keySizeBytes);
    out.values.resize(static_cast<size_t>(out.count + capacity) * info_.valueBlockBytes);
    uint32_t count = capacity;
    // SAFETY: both vectors have room for `capacity` further entries behind the `out.count` already there.
    int error = bpf_map_lookup_batch(fd_.get(), first ? nullptr : from.data(), to.data(),
                                     out.keys.data() + static_cast<size_t>(out.count) * info_.keySizeBytes,
                                     out.values.data() + static_cast<size_t>(out.count) * info_.valueBlockBytes, &count,
                                     &options);
    if (error == -ENOSPC) {  // one hash bucket exceeds the batch: nothing was returned, so ask for more
      if (capacity >= kMaxIterationEntries) fail("map.entries", ENOSPC, info_.name);
      capacity *= 2;
      continue;
    }
    bool done = error == -ENOENT;
    if (error < 0 && !done) {
      bool unsupported = error == -EINVAL || error == -EOPNOTSUPP || error == -kNotSupportedInKernel;
      if (first && unsupported) return false;
      fail("map.entries", error, info_.name);
    }
    out.count += count;
    first = false;
    from.swap(to);
    if (done) break;
  }
  out.keys.resize(static_cast<size_t>(out.count) * info_.keySizeBytes);
  out.values.resize(static_cast<size_t>(out.count) * info_.valueBlockBytes);
  return true;
}

// If a key is deleted during the iteration, the kernel starts over. Hence the set of keys seen, and
// the limit of steps.
void Map::walkByKey(MapEntries& out) const {
  Bytes key(info_.keySizeBytes), next(info_.keySizeBytes), value(info_.valueBlockBytes);
  std::unordered_set<std::string> seen;
  const uint64_t maxSteps = 4 * static_cast<uint64_t>(std::max(info_.maxEntries, 1u)) + 16;
  bool first = true;
  for (uint64_t step = 0; step < maxSteps; step++) {
    int error = bpf_map_get_next_key(fd_.get(), first ? nullptr : key.data(), next.data());
    if (error == -ENOENT) return;
    if (error < 0) fail("map.entries", error, info_.name);
    first = false;
    key.swap(next);
    if (!seen.emplace(key.begin(), key.end()).second) continue;
    error = bpf_map_lookup_elem(fd_.get(), key.data(), value.data());
    if (error == -ENOENT) continue;
    if (error < 0) fail("map.entries", error, info_.name);
    out.keys.insert(out.keys.end(), key.begin(), key.end());
    out.values.insert(out.values.end(), value.begin(), value.end());
    out.count++;
  }
  fail("map.entries", EAGAIN, info_.name + " changed too often during the iteration");
}

}  // namespace bailiff
