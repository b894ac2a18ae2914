// Ranks that share the sequences of a micro-batch, each with its own rows and whole weights (or, beside tensor ranks,
// their share of them): attention is the one place where they meet. Two ways, and their product:
//   isp      all-to-all around the attention, each rank has all rows of some heads (train/isp.h)
//   context  keys and values go round in a ring (train/ring_attention.h), rows in zigzag order (train/zigzag.h)
//   both     the all-to-all among isp's ranks, who are neighbours, the ring among groups of them (LoongTrain, Gu et al.
//            2024: head x context)
// Gradients are then sums over rows of all these ranks, as over those of data ranks, and training state is split among
// both alike (Ranks::state()). With ZeRO 3 that is isp of InternEvo: weights gathered for a block, the next block's
// meanwhile, gradients reduce-scattered.
#pragma once
#include <memory>
#include <span>

#include "model/model.h"
#include "train/ring_attention.h"
#include "train/tensor_parallel.h"

namespace puyu {

// What was found at each token of a batch; where target < 0 nothing that counts.
struct TokenResults {
  std::vector<float> logp;
  std::vector<int32_t> correct;
};

class SequenceParallel {
 public:
  explicit SequenceParallel(const Ranks& ranks);

  // A micro-batch's tokens must be a multiple of this; unit: what one context rank's tokens must be a multiple of.
  int64_t token_unit(int64_t unit) const;

  // This rank's rows of a micro-batch, all ranks having the same one. Several may be under way at a time, their passes
  // in the same order on all ranks.
  struct Rows {
    std::unique_ptr<const SharedSeqs> seqs;
    Batch batch;  // refers to seqs
    std::vector<int32_t> target;
    std::vector<float> coef;
  };
  Rows take(const Batch& all, std::span<const int32_t> target, std::span<const float> coef) const;
  // What was found at all tokens of the micro-batch, from what each rank found at its rows.
  TokenResults put_together(const TokenResults& mine) const;

  double wait_seconds() const { return wait_seconds_; }  // spent waiting for other ranks, since the beginning

 private:
  // The token of row `row` of rank `rank` of the group, of a micro-batch of so many tokens.
  int64_t token(int64_t tokens, int rank, int64_t row) const;

  Comm &all_, &ring_;
  Comm* heads_;  // none: not isp
  mutable double wait_seconds_ = 0;
};

}  // namespace puyu
