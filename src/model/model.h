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
  bool causal = true;                          // false: an encoder's batch, every token sees its whole sequence
  const SharedSeqs* shared = nullptr;          // instead of cu
  void add(const int32_t* tokens, int64_t n);  // one more sequence
  void clear() { ids.clear(), positions.clear(), cu.assign(1, 0), max_len = 0; }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  Sequences sequences(Tensor rope_table) const {
    if (shared) return {positions.data(), shared, rope_table};
    return {positions.data(), PackedSeqs{cu.data(), static_cast<int64_t>(cu.size()) - 1, max_len, causal}, rope_table};
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
// it. A backward pass in two (BlockLater in block.h) needs the weights in kInputs and the gradients in kWeights.
enum class Use { kForward, kBackward, kInputs, kWeights };
class PartWatch {
 public:
  virtual ~PartWatch() = default;
  virtual void enter(int64_t part, Use use) = 0;
  virtual void leave(int64_t part, Use use) = 0;
};
inline bool needs_gradients(Use use) { return use == Use::kBackward || use == Use::kWeights; }
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

// What the two passes are made of, for ranks that run some of the blocks only (train/pipeline.h). x, dx: act, this
// rank's rows of the stream.
// x = the embeddings of all tokens of the call, ids [T].
void embed_forward(Ctx& ctx, const Model<Tensor>& m, Tensor x, const int32_t* ids, int64_t T, const Sequences& seqs,
                   PartWatch& watch);
void embed_backward(Ctx& ctx, Model<Tensor>& grads, Tensor dx, const int32_t* ids, const Sequences& seqs,
                    PartWatch& watch);
// x through the blocks [begin, end). saved: none = inference; else it gets one for each of them, from `arena`.
void blocks_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, int64_t begin, int64_t end,
                    Tensor x, int64_t T, const Sequences& seqs, std::vector<Saved>* saved, Recompute level,
                    PartWatch& watch);
// dx back through the blocks that end with `end`. later: none, or one for each, whose weight gradients are put off.
void blocks_backward(Ctx& ctx, const ModelConfig& c, const Model<Tensor>& m, Model<Tensor>& grads, int64_t end,
                     Tensor dx, const Sequences& seqs, std::vector<Saved>& saved, Recompute level,
                     std::vector<BlockLater>* later, PartWatch& watch);
// hidden [T, D] = norm(x). rstd: f32, of x's rows, or none. Enters the head's part and leaves it to norm_backward or to
// who applies the head.
void norm_forward(Ctx& ctx, const ModelConfig& c, const Model<Tensor>& m, Tensor hidden, Tensor rstd, Tensor x,
                  const Sequences& seqs, Use use, PartWatch& watch);
// dx = gradient of x; dhidden is destroyed.
void norm_backward(Ctx& ctx, const ModelConfig& c, const Model<Tensor>& m, Model<Tensor>& grads, Tensor dx,
                   Tensor dhidden, Tensor rstd, Tensor x, const Sequences& seqs, PartWatch& watch);

}  // namespace puyu
