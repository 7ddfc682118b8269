// See object.h.
#include "object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include <algorithm>
#include <utility>

#include "pin.h"

namespace bailiff {
namespace {

// libbpf names the map of section ".rodata" "<object>.rodata"; the caller means the section.
bool isSectionMap(const struct bpf_map* map, const std::string& section) {
  std::string name = bpf_map__name(map);
  return name == section || (name.size() > section.size() && section.front() == '.' &&
                             name.compare(name.size() - section.size(), section.size(), section) == 0);
}

std::string tail(const std::string& log) {
  if (log.size() <= kVerifierLogTailBytes) return log;
  return log.substr(log.size() - kVerifierLogTailBytes);
}

void mustMatch(const char* what, uint64_t pinned, uint64_t wanted, const std::string& path) {
  if (pinned == wanted) return;
  fail("object.reuseMap", EINVAL,
       path + ": " + what + " is " + std::to_string(pinned) + ", the object needs " + std::to_string(wanted));
}

}  // namespace

std::unique_ptr<Object> Object::openFile(const std::string& path, const std::string& name) {
  auto options = zeroedOptions<struct bpf_object_open_opts>();
  options.object_name = name.empty() ? nullptr : name.c_str();
  Handle handle(bpf_object__open_file(path.c_str(), &options));
  if (!handle) fail("object.open", errno, path);
  return std::unique_ptr<Object>(new Object(std::move(handle)));
}

std::unique_ptr<Object> Object::openMemory(ByteView bytes, const std::string& name) {
  auto options = zeroedOptions<struct bpf_object_open_opts>();
  options.object_name = name.empty() ? nullptr : name.c_str();
  // SAFETY: libbpf copies the part of the ELF image that it needs before it returns.
  Handle handle(bpf_object__open_mem(bytes.data, bytes.size, &options));
  if (!handle) fail("object.open", errno, std::to_string(bytes.size) + " bytes in memory");
  return std::unique_ptr<Object>(new Object(std::move(handle)));
}

std::vector<ObjectMap> Object::maps() const {
  std::vector<ObjectMap> out;
  struct bpf_map* map = nullptr;
  bpf_object__for_each_map(map, handle_.get()) {
    out.push_back({bpf_map__name(map), static_cast<uint32_t>(bpf_map__type(map)), bpf_map__key_size(map),
                   bpf_map__value_size(map), bpf_map__max_entries(map), bpf_map__map_flags(map)});
  }
  return out;
}

std::vector<ObjectProgram> Object::programs() const {
  std::vector<ObjectProgram> out;
  struct bpf_program* program = nullptr;
  bpf_object__for_each_program(program, handle_.get()) {
    out.push_back({bpf_program__name(program), bpf_program__section_name(program),
                   static_cast<uint32_t>(bpf_program__type(program)),
                   static_cast<uint32_t>(bpf_program__expected_attach_type(program)),
                   static_cast<uint32_t>(bpf_program__insn_cnt(program))});
  }
  return out;
}

std::vector<ObjectVariable> Object::variables() const {
  std::vector<ObjectVariable> out;
  const struct btf* btf = bpf_object__btf(handle_.get());
  if (btf == nullptr) return out;
  for (uint32_t id = 1; id < btf__type_cnt(btf); id++) {
    const struct btf_type* type = btf__type_by_id(btf, id);
    if (!btf_is_datasec(type)) continue;
    std::string section = btf__name_by_offset(btf, type->name_off);
    if (section.empty() || section.front() != '.' || section == ".maps") continue;
    const struct btf_var_secinfo* info = btf_var_secinfos(type);
    for (uint16_t i = 0; i < btf_vlen(type); i++) {
      const struct btf_type* variable = btf__type_by_id(btf, info[i].type);
      out.push_back({btf__name_by_offset(btf, variable->name_off), section, info[i].offset, info[i].size});
    }
  }
  return out;
}

struct bpf_map* Object::findMap(const std::string& name, const char* operation) const {
  struct bpf_map* map = bpf_object__find_map_by_name(handle_.get(), name.c_str());
  if (map == nullptr) fail(operation, ENOENT, "no map " + name);
  return map;
}

struct bpf_map* Object::findSection(const std::string& section, const char* operation) const {
  struct bpf_map* map = nullptr;
  bpf_object__for_each_map(map, handle_.get()) {
    if (bpf_map__is_internal(map) && isSectionMap(map, section)) return map;
  }
  fail(operation, ENOENT, "no section " + section);
}

struct bpf_program* Object::findProgram(const std::string& name, const char* operation) const {
  struct bpf_program* program = bpf_object__find_program_by_name(handle_.get(), name.c_str());
  if (program == nullptr) fail(operation, ENOENT, "no program " + name);
  return program;
}

void Object::mustNotBeLoaded(const char* operation) const {
  if (loadTried_) fail(operation, EBUSY, "the object was loaded already");
}

void Object::setMapMaxEntries(const std::string& name, uint32_t maxEntries) {
  mustNotBeLoaded("object.setMapMaxEntries");
  int error = bpf_map__set_max_entries(findMap(name, "object.setMapMaxEntries"), maxEntries);
  if (error < 0) fail("object.setMapMaxEntries", error, name);
}

void Object::setMapPinPath(const std::string& name, const std::string& path) {
  mustNotBeLoaded("object.setMapPinPath");
  int error = bpf_map__set_pin_path(findMap(name, "object.setMapPinPath"), path.c_str());
  if (error < 0) fail("object.setMapPinPath", error, name + " at " + path);
}

void Object::setMapAutocreate(const std::string& name, bool autocreate) {
  mustNotBeLoaded("object.setMapAutocreate");
  int error = bpf_map__set_autocreate(findMap(name, "object.setMapAutocreate"), autocreate);
  if (error < 0) fail("object.setMapAutocreate", error, name);
}

void Object::setProgramAutoload(const std::string& name, bool autoload) {
  mustNotBeLoaded("object.setProgramAutoload");
  int error = bpf_program__set_autoload(findProgram(name, "object.setProgramAutoload"), autoload);
  if (error < 0) fail("object.setProgramAutoload", error, name);
}

// bpf_map__reuse_fd accepts any descriptor, so a map of another shape must be refused here.
void Object::reuseMap(const std::string& name, const std::string& path) {
  mustNotBeLoaded("object.reuseMap");
  struct bpf_map* map = findMap(name, "object.reuseMap");
  Fd fd = openPin(path, PinKind::kMap, "object.reuseMap");
  MapInfo pinned = readMapInfo(fd.get(), "object.reuseMap");
  mustMatch("type", pinned.type, bpf_map__type(map), path);
  mustMatch("key size", pinned.keySizeBytes, bpf_map__key_size(map), path);
  mustMatch("value size", pinned.valueSizeBytes, bpf_map__value_size(map), path);
  mustMatch("max entries", pinned.maxEntries, bpf_map__max_entries(map), path);
  mustMatch("flags", pinned.flags, bpf_map__map_flags(map), path);
  int error = bpf_map__reuse_fd(map, fd.get());
  if (error < 0) fail("object.reuseMap", error, path);
}

void Object::setInitialValue(const std::string& section, uint32_t offsetBytes, ByteView value) {
  mustNotBeLoaded("object.setInitialValue");
  size_t size = 0;
  // SAFETY: libbpf's own mapping of the section, `size` bytes long, valid until load.
  auto* target = static_cast<uint8_t*>(bpf_map__initial_value(findSection(section, "object.setInitialValue"), &size));
  if (target == nullptr) fail("object.setInitialValue", EINVAL, section);
  if (offsetBytes > size || value.size > size - offsetBytes) {
    throw std::invalid_argument("section " + section + " has " + std::to_string(size) + " bytes; " +
                                std::to_string(value.size) + " at " + std::to_string(offsetBytes) + " do not fit");
  }
  std::copy_n(value.data, value.size, target + offsetBytes);
}

// libbpf loads without a log first, and with a log after a failure. Each program has its own
// buffer, so that the next one does not overwrite the log of the failed one.
void Object::load() {
  mustNotBeLoaded("object.load");
  loadTried_ = true;
  struct Attempt {
    struct bpf_program* program;  // SAFETY: borrowed from handle_ for this call
    std::unique_ptr<char[]> log;
  };
  std::vector<Attempt> attempts;
  struct bpf_program* program = nullptr;
  bpf_object__for_each_program(program, handle_.get()) {
    if (!bpf_program__autoload(program)) continue;
    std::unique_ptr<char[]> log(new char[kVerifierLogBytes]);
    log[0] = '\0';
    bpf_program__set_log_buf(program, log.get(), kVerifierLogBytes);
    attempts.push_back({program, std::move(log)});
  }
  int error = bpf_object__load(handle_.get());
  std::string detail, verifierLog;
  for (auto& attempt : attempts) {
    if (error < 0 && attempt.log[0] != '\0') {
      detail = std::string("program ") + bpf_program__name(attempt.program);
      verifierLog = tail(std::string(attempt.log.get()));
    }
    // SAFETY: libbpf must not keep the pointer beyond the buffer's life.
    bpf_program__set_log_buf(attempt.program, nullptr, 0);
  }
  if (error < 0) fail("object.load", error, detail, verifierLog);
  loaded_ = true;
}

std::unique_ptr<Map> Object::map(const std::string& name) const {
  struct bpf_map* map = bpf_object__find_map_by_name(handle_.get(), name.c_str());
  if (map == nullptr && !name.empty() && name.front() == '.') map = findSection(name, "object.map");
  if (map == nullptr) fail("object.map", ENOENT, "no map " + name);
  if (!loaded_ || bpf_map__fd(map) < 0) fail("object.map", ENOENT, "map " + name + " is not loaded");
  return std::make_unique<Map>(Fd::duplicate(bpf_map__fd(map), "object.map"));
}

std::unique_ptr<Program> Object::program(const std::string& name) const {
  struct bpf_program* program = findProgram(name, "object.program");
  if (!loaded_ || bpf_program__fd(program) < 0) fail("object.program", ENOENT, "program " + name + " is not loaded");
  return std::make_unique<Program>(Fd::duplicate(bpf_program__fd(program), "object.program"));
}

}  // namespace bailiff
