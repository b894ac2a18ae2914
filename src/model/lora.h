// Low-rank adapters (LoRA, Hu et al. 2022): y = x W^T + (alpha / r) (x A^T) B^T for any of a block's matrices, added
// while the model runs, so that one batch may hold sequences with different adapters or none. Read from PEFT's folders:
// adapter_config.json and adapter_model.safetensors, with InternLM2's names of the matrices (wqkv, wo, w1, w3, w2) or
// LLaMA's (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj).
#pragma once
#include <memory>
#include <span>

#include "model/tensors.h"

namespace puyu {

// Packed for linear(); none where the adapter leaves a matrix as it is.
struct LoraPair {
  Tensor a;  // [r, K]
  Tensor b;  // [N, r], alpha / r multiplied in
};

struct Lora {
  std::unique_ptr<Arena> arena;
  Model<LoraPair> pairs;
};

// Read with `host`, on the CPU, packed where ctx computes. act: type of the activations. Error when the folder is not
// an adapter of a model of this shape.
Lora load_lora(Ctx& host, Ctx& ctx, const std::string& dir, const ModelConfig& c, DType act);

// Tokens [begin, end) of a call run with this adapter's block.
struct LoraRows {
  int64_t begin = 0, end = 0;
  const Block<LoraPair>* block = nullptr;
};
// y[rows] += (x[rows] a^T) b^T for the matrix `which` of each adapter.   x: act [T, K]  y: act [T, N]
void add_lora(Ctx& ctx, Tensor y, Tensor x, std::span<const LoraRows> rows, LoraPair Block<LoraPair>::* which);

}  // namespace puyu
