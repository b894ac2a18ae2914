// Where a model's tensors come from: a folder of ours or of Hugging Face's, or a GGUF file. A source knows the shape
// of the model and gives tensors by InternLM2's names (model/tensors.h), whatever they are called in the file and
// however q, k and v are stored there.
#pragma once
#include <memory>
#include <string>

#include "model/config.h"
#include "model/quantized.h"
#include "model/tensors.h"

namespace puyu {

class ModelSource {
 public:
  virtual ~ModelSource() = default;
  virtual const ModelConfig& config() const = 0;
  virtual Head head() const = 0;                // what the files hold
  virtual DType dtype() const = 0;              // in which the embeddings are stored: f32, bf16 or f16
  virtual const std::string& path() const = 0;  // for messages
  virtual std::string family() const = 0;       // internlm2, llama, ...
  virtual bool has(const std::string& name) const = 0;
  // A view of what the file maps, if it holds the tensor in just this form (dtype, our order of rows); else an empty
  // tensor. Read-only memory that lives as long as the source.
  virtual Tensor view(const std::string& name, DType dtype) const = 0;
  // Writes the tensor to `to` (f32 or bf16), converted and put in our order. Error when it is missing or has another
  // shape.
  virtual void read(Ctx& ctx, const std::string& name, Tensor to) const = 0;
  // Of a quantised model: w8a8, w4a16, w4a8; else empty. Its matrices may still stand there as they are, one by one.
  virtual std::string scheme() const { return {}; }
  virtual bool quantized(const std::string&) const { return false; }
  // The numbers of such a matrix, views of the file or from ctx.scratch. read() gives what they stand for.
  virtual QuantizedWeight read_numbers(Ctx&, const std::string& name) const;
  virtual void verify() const {}  // Error when a checksum that the files bear is not theirs; reads all bytes
};

// A folder or a .gguf file. Error when the path is no model or one that we would compute wrongly.
std::unique_ptr<ModelSource> open_model_source(const std::string& path);

}  // namespace puyu
