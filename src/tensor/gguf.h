// GGUF, llama.cpp's model format: a header of typed key-values and tensor infos, then aligned tensor data. The reader
// maps the file and trusts nothing: counts, strings, shapes, types, offsets and overlaps are checked before use.
// docs/formats.d/gguf.md has the layout.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "tensor/ggml_blocks.h"

namespace puyu {

enum class GgufType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };
struct GgufValue {
  GgufType type = GgufType::kU32;
  GgufType element = GgufType::kU32;  // of an array
  Json value;                         // integers beyond 63 bits are refused
};

struct GgufTensor {
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // as ours: the last dimension is contiguous (GGUF writes it first)
  const char* data = nullptr;
  int64_t bytes = 0;
  int64_t numel() const;
};

class Gguf {
 public:
  explicit Gguf(const std::string& path);
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const std::string& path() const { return file_.path(); }
  uint32_t version() const { return version_; }

  // Values by key; Error naming file and key when it is missing (without fallback) or of another type.
  const Json* find(const std::string& key) const;
  std::string text(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t fallback) const;
  double number(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;

 private:
  MappedFile file_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, GgufTensor> tensors_;
};

// Key-values in the order they are to be written.
struct GgufMetadata {
  std::vector<std::pair<std::string, GgufValue>> list;
  void add(const std::string& key, const std::string& v) { list.push_back({key, {GgufType::kString, {}, v}}); }
  void add_u32(const std::string& key, int64_t v) { list.push_back({key, {GgufType::kU32, {}, v}}); }
  void add_f32(const std::string& key, double v) { list.push_back({key, {GgufType::kF32, {}, v}}); }
  void add_bool(const std::string& key, bool v) { list.push_back({key, {GgufType::kBool, {}, v}}); }
  void add_array(const std::string& key, GgufType element, Json v) {
    list.push_back({key, {GgufType::kArray, element, std::move(v)}});
  }
};
struct GgufOut {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;
  std::function<std::string()> data;  // its bytes, asked for when its turn comes: one tensor in memory at a time
};
// Version 3, aligned to 32 bytes, atomic. on_tensor: after each, its bytes.
void write_gguf(const std::string& path, const GgufMetadata& metadata, const std::vector<GgufOut>& tensors,
                const std::function<void(int64_t bytes)>& on_tensor = {});

}  // namespace puyu
