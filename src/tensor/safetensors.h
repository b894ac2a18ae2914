// Safetensors, Hugging Face's weight format: 8-byte little-endian header length, JSON header, raw tensors. Our own
// checkpoints use it too. The reader maps the file and trusts nothing: header size, JSON, dtypes, shapes, offsets,
// overlaps, holes and duplicates are checked, as the format's specification asks.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "tensor/tensor.h"

namespace puyu {

class SafeTensors {
 public:
  explicit SafeTensors(const std::string& path);
  // Views into the mapping: read-only memory that lives as long as this object.
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const Tensor* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return file_.path(); }
  std::string_view data() const { return file_.bytes().substr(data_begin_); }
  std::string_view header() const { return file_.bytes().substr(8, data_begin_ - 8); }  // JSON, padded with spaces

 private:
  MappedFile file_;
  size_t data_begin_ = 0;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

const char* safetensors_dtype(DType t);  // "F32", "BF16", …

struct NamedTensor {
  std::string name;
  Tensor tensor;
};
// Writes atomically, tensors in the given order. Returns the XXH3 of the tensor bytes.
uint64_t write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                           const std::map<std::string, std::string>& metadata);

// A tensor whose bytes are made when their turn comes: it gives them to `write` in as many pieces as it likes. So a
// model larger than memory can be written.
struct PendingTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::function<void(const std::function<void(std::string_view)>& write)> data;
};
std::vector<PendingTensor> pending(const std::vector<NamedTensor>& tensors);  // views of the same memory
// JSON; the tensors' bytes follow in this order without gaps. Only names, dtypes and shapes are read.
std::string safetensors_header(const std::vector<PendingTensor>& tensors,
                               const std::map<std::string, std::string>& metadata);
std::string safetensors_begin(std::string_view header);  // what stands before the tensors' bytes: its length, and it
// Atomic. header: of safetensors_header(), or another that says the same of these tensors, byte for byte as it is to
// stand there. on_tensor: after each, its bytes. Returns the XXH3 of the tensor bytes.
uint64_t write_safetensors(const std::string& path, std::string_view header, const std::vector<PendingTensor>& tensors,
                           const std::function<void(int64_t bytes)>& on_tensor = {});

}  // namespace puyu
