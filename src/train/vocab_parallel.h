// The language head and its loss where tensor ranks share the vocabulary (Shoeybi et al. 2019, section 3): no rank ever
// sees another's logits. For a chunk of tokens each rank computes the logits of its own rows; the ranks tell each other
// three numbers a token (the largest logit, the sum of exponentials below it, the target's logit), put them together in
// the order of ranks, and each goes on with its own columns of the gradient.
#pragma once
#include "kernels/kernels.h"
#include "train/tensor_parallel.h"

namespace puyu {

// As fused_cross_entropy (kernels.h) of the whole head, with the same results on every rank but for
//   w, dw: f32 or act [V / ranks, D], this rank's rows    dx: this rank's part of a sum over ranks
// No entropy.
void vocab_cross_entropy(Ctx& ctx, const TensorParallel& ranks, const CrossEntropyOut& out, Tensor dx, Tensor dw,
                         Tensor x, Tensor w, const int32_t* target, const float* coef);

}  // namespace puyu
