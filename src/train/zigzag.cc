#include "train/zigzag.h"

#include <algorithm>

namespace puyu {

Share Zigzag::tokens_of(int rank, int half) const {
  const int64_t c = half == 0 ? rank : 2 * ranks - 1 - rank;
  return {c * chunk(), (c + 1) * chunk()};
}

int64_t Zigzag::token(int rank, int64_t row) const {
  const int half = row >= chunk();
  return tokens_of(rank, half).begin + row - half * chunk();
}

std::vector<AttentionSpan> ring_spans(const std::vector<int32_t>& cu, const Zigzag& z, int rank, int half, int from) {
  CHECK(z.tokens % (2 * z.ranks) == 0 && cu.back() == z.tokens);
  const Share queries = z.tokens_of(rank, half), low = z.tokens_of(from, 0), high = z.tokens_of(from, 1);
  std::vector<AttentionSpan> out;
  for (size_t i = 0; i + 1 < cu.size(); ++i) {
    const int64_t begin = cu[i], q0 = std::max<int64_t>(begin, queries.begin),
                  q1 = std::min<int64_t>(cu[i + 1], queries.end);
    if (q0 >= q1) continue;
    // Of the sequence's tokens before `end`, how many rank `from` has in a chunk.
    auto count = [begin](Share chunk, int64_t end) {
      return std::max<int64_t>(0, std::min(chunk.end, end) - std::max(chunk.begin, begin));
    };
    const int64_t keys = count(low, q1) + count(high, q1), seen = count(low, q0 + 1) + count(high, q0 + 1);
    if (keys == 0) continue;
    const bool in_low = count(low, q1) > 0;
    const int64_t k =
        in_low ? std::max(begin, low.begin) - low.begin : z.chunk() + std::max(begin, high.begin) - high.begin;
    out.push_back({half * z.chunk() + q0 - queries.begin, q1 - q0, k, keys, seen - 1});
  }
  return out;
}

int ring_steps(const std::vector<int32_t>& cu, const Zigzag& z) {
  for (int step = z.ranks - 1; step > 0; --step)
    for (int rank = 0; rank < z.ranks; ++rank)
      for (int half : {0, 1})
        if (!ring_spans(cu, z, rank, half, (rank - step + z.ranks) % z.ranks).empty()) return step + 1;
  return 1;
}

}  // namespace puyu
