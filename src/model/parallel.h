// How several ranks share the matrix products of a model (tensor parallel, Shoeybi et al. 2019), and the tokens between
// the products too (sequence parallel, Korthikanti et al. 2022). Each rank runs the model on its share of the heads, of
// the feed-forward's columns and of the vocabulary (split_config in tensors.h), and the model says where the ranks must
// meet. Two operations are enough, for each is the other's backward pass (docs/math.md, "Tensor ranks"):
//
//             tokens on every rank     tokens split
//   gather    nothing                  all-gather of the rows
//   sum       all-reduce               reduce-scatter of the rows
//
// This class is the one rank that holds everything: both do nothing. train/tensor_parallel.h is the other.
#pragma once
#include "tensor/tensor.h"

namespace puyu {

class Parallel {
 public:
  virtual ~Parallel() = default;
  virtual int rank() const { return 0; }
  virtual int ranks() const { return 1; }
  // The residual stream: rows of all tokens on each rank, or equal shares of them in the order of ranks.
  virtual bool splits_tokens() const { return false; }
  // Whether what was gathered in the forward pass is kept for the backward pass, or gathered again.
  virtual bool keeps_gathered() const { return true; }

  // In place. gather: every row of x is that of the rank whose stream it is in. sum: mine(x) becomes the sum over ranks
  // of these rows, the rest of x is undefined.   x: act [all tokens, …]
  virtual void gather(Tensor) const {}
  void sum(Tensor x) const { start_sum(x), finish_sum(); }
  // The same in two halves with arithmetic between them: the backward pass has the gradients of weights to compute
  // while that of their input is summed. x is not touched in between, and no other sum is started.
  virtual void start_sum(Tensor) const {}
  virtual void finish_sum() const {}

  int64_t shards() const { return splits_tokens() ? ranks() : 1; }
  // This rank's rows of the stream, of a tensor of all tokens.
  Tensor mine(Tensor all) const {
    const int64_t n = all.shape[0] / shards(), at = splits_tokens() ? rank() * n : 0;
    return all.rows(at, at + n);
  }
};
inline const Parallel kOneRank;

}  // namespace puyu
