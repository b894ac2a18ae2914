// Attention whose keys and values lie on several ranks (ring attention, Liu et al. 2023): they go round, each rank
// sends on what it has while it computes with it, and the parts of the softmax are merged by their log-sum-exp. In the
// backward pass the gradients of keys and values go round with them and come home at the end, added in the order in
// which they meet the ranks, in f32.
#pragma once
#include <vector>

#include "train/zigzag.h"

namespace puyu {

// What one rank computes in each step of the ring, of one micro-batch: spans of its first and its second chunk.
struct RingPlan {
  struct Step {
    std::vector<AttentionSpan> spans[2];
  };
  std::vector<Step> steps;
};
RingPlan plan_ring(const std::vector<int32_t>& cu, const Zigzag& z, int rank);

// Both return the seconds that they waited for other ranks. o, lse = attention of this rank's rows.   o: act [T, H*HD]
// lse: f32 [T, H] or none  qkv: act [T, heads.row()]
double ring_attention(Ctx& ctx, Comm& ring, const RingPlan& plan, Tensor o, Tensor lse, Tensor qkv, Heads heads);
double ring_attention_backward(Ctx& ctx, Comm& ring, const RingPlan& plan, Tensor dqkv, Tensor do_, Tensor o,
                               Tensor lse, Tensor qkv, Heads heads);

}  // namespace puyu
