// A model's parameters: f32 masters, and for bf16 compute a bf16 copy of each (f32 compute uses the masters).
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "base/rng.h"
#include "model/source.h"
#include "model/tensors.h"
#include "tensor/safetensors.h"

namespace puyu {

// Where each tensor stands in the flat array of its part: the same elements for every dtype. Tensors begin at multiples
// of 64 elements, with a gap of zeros before the next.
struct FlatTensor {
  std::string name;
  Spec spec;
  int64_t layer;  // -1 outside the blocks
  int64_t part;
  int64_t begin;  // its first element in the part
  int64_t elements() const { return spec.cols ? spec.rows * spec.cols : spec.rows; }
};
struct FlatLayout {
  std::vector<FlatTensor> tensors;  // in the order of Model::each()
  std::vector<int64_t> parts;       // elements of each part, gaps included
};
FlatLayout flat_layout(const ModelConfig& c, Head head);

// One tensor per model tensor, of one dtype, in one arena; contents zero.
struct TensorSet {
  std::unique_ptr<Arena> arena;
  Model<Tensor> tensors;
  std::vector<Tensor> parts;  // the same memory as one array [elements] a part
};
// The tensor as a view of its part's array.
Tensor flat_tensor(const FlatTensor& f, const std::vector<Tensor>& parts);
// folder: the memory is a file there (tensor/arena.h).
TensorSet make_tensor_set(const std::string& name, const ModelConfig& c, Head head, DType dtype,
                          const std::string& folder = "");
std::unique_ptr<Arena> make_arena(const std::string& name, int64_t bytes, const std::string& folder);

struct Weights {
  ModelConfig config;
  Head head = Head::kLanguage;
  DType compute = DType::kF32;
  TensorSet master;                           // f32
  TensorSet copy;                             // bf16, empty for f32 compute
  std::shared_ptr<const ModelSource> source;  // of load_for_inference: some tensors are views of its files
  TensorSet& use_set() { return compute == DType::kF32 ? master : copy; }
  Model<Tensor>& use() { return use_set().tensors; }
  Tensor output() { return config.tie_embeddings && head == Head::kLanguage ? use().tok_embeddings : use().output; }
  void refresh_copy(Ctx& ctx);  // copy = bf16(master)
};

Weights make_weights(const ModelConfig& c, Head head, DType compute);
void init_weights(Weights& w, uint64_t seed);
// One of them: number `index` of each(). f32, whole.
void init_tensor(Tensor t, const Spec& spec, int64_t layer, uint64_t seed, size_t index);

// A folder: config.json (Hugging Face's keys) and model.safetensors (our f32 masters, or bf16 with dtype kBF16). Read:
// also shards, f16 and LLaMA's names (model/hf_config.h).
void save_model(const std::string& dir, Weights& w, DType dtype);
ModelConfig load_model_config(const std::string& dir);
// Loads into a model with this head; a language model loaded for a value head starts with a zero v_head.
Weights load_model(Ctx& ctx, const std::string& dir, Head head, DType compute);

// To run and not to train: no masters, and what the files hold as it is needed is mapped, not copied. compute: as the
// files (f32 for f32, else bf16) where none is given. A matrix that the files hold quantised has a shape and no data:
// its numbers are with the source (read_numbers), for the engine to pack.
Weights load_for_inference(Ctx& ctx, const std::string& dir, Head head, std::optional<DType> compute = {});

}  // namespace puyu
