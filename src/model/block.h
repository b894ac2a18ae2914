// The transformer block, forward and backward: the heart of everything. One function serves training, prefill, decode,
// scoring and rollouts; only attention looks at what kind of Sequences it got.
#pragma once
#include <variant>

#include "model/lora.h"
#include "model/parallel.h"

namespace puyu {

// Sequences whose tokens lie on several ranks. Each rank runs the model on its own rows, and they meet in attention
// alone; who the others are and what they exchange is in train/sequence_parallel.h.
class SharedSeqs {
 public:
  virtual ~SharedSeqs() = default;
  // o = attention of this rank's rows, as with PackedSeqs (kernels.h). qkv and lse are left with what backward() wants
  // of them, in the same bytes.   o: act [T, H*HD]  lse: f32 [T, H] or none: no backward pass follows
  virtual void forward(Ctx&, Tensor o, Tensor lse, Tensor qkv, Heads heads) const = 0;
  virtual void backward(Ctx&, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads) const = 0;
};

// The tokens of one call: where they stand and whom they see.
struct Sequences {
  const int32_t* positions = nullptr;  // [T]
  std::variant<PackedSeqs, PagedSeqs, const SharedSeqs*> layout;
  Tensor rope_table;                     // f32 [max_pos, HD]
  std::span<const LoraRows> lora = {};   // inference only
  const Parallel* parallel = &kOneRank;  // training only
};

// How much forward work the backward pass does again to save memory.
enum class Recompute { kNone, kSelective, kFull };  // selective: norms and SwiGLU; full: the whole block

// What the backward pass needs from the forward pass. All act [T, ...] but the f32 rstd and lse; where tensor ranks
// split the tokens, x, mid and their rstd are of this rank's rows.
struct Saved {
  Tensor x, rstd1, qkv, lse, attn, mid, rstd2, gate, up;
  Tensor h1, h2, act;  // none when recomputed
};
// Tensors of one block for T tokens. With kFull only x is kept between forward and backward.
Saved alloc_saved(Arena& arena, const ModelConfig& c, int64_t T, DType act, Recompute level,
                  const Parallel& parallel = kOneRank);

// x = block(x) in place. saved = null: inference, temporaries from ctx.scratch. c and w: what this rank holds.
// x: act [T, D], this rank's rows
void block_forward(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& w, Tensor x, const Sequences& seqs,
                   Saved* saved);

// A gradient of all tokens from one of this rank's rows: dx itself where each rank has all, else ctx.scratch.
Tensor gathered(Ctx& ctx, const Parallel& parallel, Tensor dx);

// The gradients of a block's weights, put off (zero-bubble pipelines, Qi et al. 2023): what their products need, from
// `arena` where it would else be overwritten.
struct BlockLater {
  Arena* arena = nullptr;
  Tensor dout, act, dgate, dup, h2, dmid, attn, dqkv, h1;  // act [T, …]
  Tensor dmid_rows;                                        // of dmid this rank's
  Tensor dattention_norm, dffn_norm;                       // f32 [D], done already
};

// dx: gradient of the block's output in, of its input out. grads +=; later: they stay as they are until
// block_backward_later().
void block_backward(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& w, Block<Tensor>& grads, Tensor dx,
                    const Sequences& seqs, Saved& saved, Recompute level, BlockLater* later = nullptr);
// grads +=.
void block_backward_later(Ctx& ctx, const ModelConfig& c, Block<Tensor>& grads, const BlockLater& later);

}  // namespace puyu
