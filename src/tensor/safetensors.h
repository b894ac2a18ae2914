// Safetensors, Hugging Face's weight format: 8-byte little-endian header length, JSON header, raw tensors. Our own
// checkpoints use it too. The reader maps the file and trusts nothing: header size, JSON, dtypes, shapes, offsets,
// overlaps, holes and duplicates are checked, as the format's specification asks.
#pragma once
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

 private:
  MappedFile file_;
  size_t data_begin_ = 0;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};
// What stands before the tensors' bytes, which follow in this order without gaps. Only names, dtypes and shapes are
// read.
std::string safetensors_header(const std::vector<NamedTensor>& tensors,
                               const std::map<std::string, std::string>& metadata);
// Writes atomically, tensors in the given order. Returns the XXH3 of the tensor bytes.
uint64_t write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                           const std::map<std::string, std::string>& metadata);

}  // namespace puyu
