// A BPF object file between open and close: changes before the load, the load, and the maps and
// programs that are taken from it afterwards. Each has a descriptor of its own and outlives the
// object. Limits: kVerifierLogBytes of verifier log per program; the error gets the last
// kVerifierLogTailBytes.
#pragma once

#include <bpf/libbpf.h>

#include <memory>
#include <string>
#include <vector>

#include "map.h"
#include "program.h"

namespace bailiff {

// Allocated but not touched unless the verifier writes to it, so a clean load uses no memory.
constexpr size_t kVerifierLogBytes = 4u << 20;
constexpr size_t kVerifierLogTailBytes = 256u << 10;

struct ObjectMap {
  std::string name;
  uint32_t type;
  uint32_t keySizeBytes;
  uint32_t valueSizeBytes;
  uint32_t maxEntries;
  uint32_t flags;
};

struct ObjectProgram {
  std::string name;
  std::string section;
  uint32_t type;
  uint32_t attachType;
  uint32_t instructionCount;
};

// A global variable of the object, by its section (.rodata, .data, .bss and their named forms).
struct ObjectVariable {
  std::string name;
  std::string section;
  uint32_t offsetBytes;
  uint32_t sizeBytes;
};

class Object {
 public:
  // An empty name means the base name of the file.
  static std::unique_ptr<Object> openFile(const std::string& path, const std::string& name);
  static std::unique_ptr<Object> openMemory(ByteView bytes, const std::string& name);

  std::vector<ObjectMap> maps() const;
  std::vector<ObjectProgram> programs() const;
  std::vector<ObjectVariable> variables() const;

  // Before load only; EBUSY after it.
  void setMapMaxEntries(const std::string& name, uint32_t maxEntries);
  void setMapPinPath(const std::string& name, const std::string& path);
  void setMapAutocreate(const std::string& name, bool autocreate);
  void setProgramAutoload(const std::string& name, bool autoload);
  void reuseMap(const std::string& name, const std::string& path);
  void setInitialValue(const std::string& section, uint32_t offsetBytes, ByteView value);

  void load();

  std::unique_ptr<Map> map(const std::string& name) const;
  std::unique_ptr<Program> program(const std::string& name) const;

 private:
  struct Closer {
    void operator()(struct bpf_object* object) const { bpf_object__close(object); }
  };
  // SAFETY: owned by this; the bpf_map and bpf_program pointers below are borrowed from it within one call only.
  using Handle = std::unique_ptr<struct bpf_object, Closer>;

  explicit Object(Handle handle) : handle_(std::move(handle)) {}
  struct bpf_map* findMap(const std::string& name, const char* operation) const;
  struct bpf_map* findSection(const std::string& section, const char* operation) const;
  struct bpf_program* findProgram(const std::string& name, const char* operation) const;
  void mustNotBeLoaded(const char* operation) const;

  Handle handle_;
  bool loadTried_ = false;
  bool loaded_ = false;
};

}  // namespace bailiff
