// The whole model on a batch of tokens: embedding, blocks, final norm; then a head. Training keeps what the backward
// pass needs in a Pass; inference keeps nothing.
#pragma once
#include <vector>

#include "model/block.h"
#include "model/rope.h"
#include "model/weights.h"

namespace puyu {

// Token ids packed back to back with their sequence borders.
struct Batch {
  std::vector<int32_t> ids, positions, cu{0};
  int64_t max_len = 0;
  void add(const int32_t* tokens, int64_t n);  // one more sequence
  void clear() { ids.clear(), positions.clear(), cu.assign(1, 0), max_len = 0; }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  Sequences sequences(Tensor rope_table) const {
    return {positions.data(), PackedSeqs{cu.data(), static_cast<int64_t>(cu.size()) - 1, max_len}, rope_table};
  }
};

// State between model_forward and model_backward.
struct Pass {
  std::vector<Saved> layers;
  Tensor last, rstd, hidden;  // input of the final norm, its rstd, its output [T, D]
};

// Hidden states after the final norm, act [T, D], from `arena`. pass = null: inference.
Tensor model_forward(Ctx& ctx, Arena& arena, Weights& w, const int32_t* ids, int64_t T, const Sequences& seqs,
                     Pass* pass, Recompute level = Recompute::kNone);
// The same on any set of tensors, packed or quantised ones too; act: type of the activations.
Tensor model_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, DType act,
                     const int32_t* ids, int64_t T, const Sequences& seqs, Pass* pass,
                     Recompute level = Recompute::kNone);

// dhidden [T, D]: gradient of the hidden states, destroyed. grads +=.
void model_backward(Ctx& ctx, Weights& w, Model<Tensor>& grads, Tensor dhidden, const int32_t* ids,
                    const Sequences& seqs, Pass& pass, Recompute level);

}  // namespace puyu
