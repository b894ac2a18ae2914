// The whole model on a batch of tokens: embedding, blocks, final norm; then a head. Training keeps what the backward
// pass needs in a Pass; inference keeps nothing.
#pragma once
#include <vector>

#include "model/block.h"
#include "model/rope.h"
#include "model/weights.h"

namespace puyu {

// Token ids packed back to back with their sequence borders; of sequences shared with other ranks the rows of this one.
struct Batch {
  std::vector<int32_t> ids, positions, cu{0};
  int64_t max_len = 0;
  const SharedSeqs* shared = nullptr;          // instead of cu
  void add(const int32_t* tokens, int64_t n);  // one more sequence
  void clear() { ids.clear(), positions.clear(), cu.assign(1, 0), max_len = 0; }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  Sequences sequences(Tensor rope_table) const {
    if (shared) return {positions.data(), shared, rope_table};
    return {positions.data(), PackedSeqs{cu.data(), static_cast<int64_t>(cu.size()) - 1, max_len}, rope_table};
  }
};

// State between model_forward and model_backward.
struct Pass {
  std::vector<Saved> layers;
  Tensor last, rstd, hidden;  // input of the final norm and its rstd (this rank's rows), its output [T, D]
};

// Who is told when a part of the model (tensors.h) comes into use and when it is done with: between the two its weights
// must be there, in the backward pass its gradients too. After leave() of the backward pass nothing more is added to
// them. The model knows no more of how its tensors are spread over ranks. A training pass goes through the head once,
// so that part is entered with kBackward at the end of the forward pass; in inference whoever applies the head leaves
// it.
enum class Use { kForward, kBackward };
class PartWatch {
 public:
  virtual ~PartWatch() = default;
  virtual void enter(int64_t part, Use use) = 0;
  virtual void leave(int64_t part, Use use) = 0;
};
// The calls of one pass, without arithmetic: what a rank does that has no tokens while others have.
void walk_parts(PartWatch& watch, const ModelConfig& c, bool backward);

// Hidden states after the final norm, act [T, D], from `arena`. pass = null: inference. T: all tokens of the call, also
// where tensor ranks split them (seqs.parallel); then every rank calls this with its own share of the weights.
Tensor model_forward(Ctx& ctx, Arena& arena, Weights& w, const int32_t* ids, int64_t T, const Sequences& seqs,
                     Pass* pass, Recompute level = Recompute::kNone, PartWatch* watch = nullptr);
// The same on any set of tensors, packed or quantised ones too; act: type of the activations.
Tensor model_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, DType act,
                     const int32_t* ids, int64_t T, const Sequences& seqs, Pass* pass,
                     Recompute level = Recompute::kNone, PartWatch* watch = nullptr);

// dhidden [T, D]: gradient of the hidden states, destroyed; of tensor ranks each has its part of a sum. grads +=, and
// where tensor ranks split the tokens, those of whole tensors (Split::kWhole) are each rank's part of a sum too.
void model_backward(Ctx& ctx, Weights& w, Model<Tensor>& grads, Tensor dhidden, const int32_t* ids,
                    const Sequences& seqs, Pass& pass, Recompute level, PartWatch* watch = nullptr);

}  // namespace puyu
