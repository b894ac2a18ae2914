// A model's parameters: f32 masters, and for bf16 compute a bf16 copy of each (f32 compute uses the masters).
#pragma once
#include <memory>
#include <string>

#include "base/rng.h"
#include "model/tensors.h"
#include "tensor/safetensors.h"

namespace puyu {

// One tensor per model tensor, of one dtype, in one arena; contents zero.
struct TensorSet {
  std::unique_ptr<Arena> arena;
  Model<Tensor> tensors;
};
TensorSet make_tensor_set(const std::string& name, const ModelConfig& c, Head head, DType dtype);

struct Weights {
  ModelConfig config;
  Head head = Head::kLanguage;
  DType compute = DType::kF32;
  TensorSet master;  // f32
  TensorSet copy;    // bf16, empty for f32 compute
  Model<Tensor>& use() { return compute == DType::kF32 ? master.tensors : copy.tensors; }
  Tensor output() { return config.tie_embeddings && head == Head::kLanguage ? use().tok_embeddings : use().output; }
  void refresh_copy(Ctx& ctx);  // copy = bf16(master)
};

Weights make_weights(const ModelConfig& c, Head head, DType compute);
void init_weights(Weights& w, uint64_t seed);

// A folder: config.json (Hugging Face's keys) and model.safetensors (our f32 masters, or bf16 with dtype kBF16).
void save_model(const std::string& dir, Weights& w, DType dtype);
ModelConfig load_model_config(const std::string& dir);
// Loads into a model with this head; a language model loaded for a value head starts with a zero v_head.
Weights load_model(Ctx& ctx, const std::string& dir, Head head, DType compute);

}  // namespace puyu
