// Which tokens of a micro-batch a rank has when several share its sequences, and which keys its queries see. The packed
// tokens are cut into 2 n equal chunks for n context ranks, and rank r has chunks r and 2 n - 1 - r (zigzag; Llama 3,
// section 3.3.2): with causal attention the early chunks see little and the late ones much, so that every rank computes
// as much as the others, in every step of the ring. No tensors here: only numbers.
//
// Keys go round: in step s a rank has those of the rank s places before it. A rank's rows are its two chunks, one
// after the other, and of a sequence it has one run of rows, wherever the sequence begins and ends.
#pragma once
#include <cstdint>
#include <vector>

#include "comm/comm.h"
#include "kernels/kernels.h"

namespace puyu {

struct Zigzag {
  int64_t tokens = 0;  // a multiple of 2 ranks
  int ranks = 1;
  int64_t chunk() const { return tokens / (2 * ranks); }
  int64_t rows() const { return tokens / ranks; }
  // Tokens of the rank's first (half = 0) or second chunk.
  Share tokens_of(int rank, int half) const;
  // The token of a row of a rank.
  int64_t token(int rank, int64_t row) const;
};

// What the queries in one of a rank's chunks see of the keys of rank `from`, one span a sequence: q and k are rows of
// the two ranks. Sequence i is tokens [cu[i], cu[i + 1]).
std::vector<AttentionSpan> ring_spans(const std::vector<int32_t>& cu, const Zigzag& z, int rank, int half, int from);

// Steps after which no rank sees anything more: 1 where nobody looks at another rank's keys.
int ring_steps(const std::vector<int32_t>& cu, const Zigzag& z);

}  // namespace puyu
