// The order of the ring and the balance of the zigzag, without a model: every query meets every key it may see, once.
#include "train/zigzag.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"
#include "train/ring_attention.h"

namespace puyu {
namespace {

// Sequences of 1 to `longest` tokens that make up `tokens`.
std::vector<int32_t> pack(Rng& rng, int64_t tokens, int64_t longest) {
  std::vector<int32_t> cu{0};
  while (cu.back() < tokens)
    cu.push_back(static_cast<int32_t>(
        std::min<int64_t>(tokens, cu.back() + 1 + static_cast<int64_t>(rng.below(static_cast<uint64_t>(longest))))));
  return cu;
}

int64_t pairs_of(const std::vector<AttentionSpan>& spans) {
  int64_t n = 0;
  for (const AttentionSpan& s : spans)
    for (int64_t i = 0; i < s.queries; ++i) n += std::min(s.keys, s.first + 1 + i);
  return n;
}

TEST(Zigzag, EveryTokenIsOneRowOfOneRank) {
  for (int ranks : {1, 2, 3, 5, 8}) {
    const Zigzag z{12 * ranks, ranks};
    std::set<int64_t> seen;
    for (int r = 0; r < ranks; ++r) {
      int64_t before = -1;
      for (int64_t row = 0; row < z.rows(); ++row) {
        const int64_t t = z.token(r, row);
        EXPECT_GT(t, before) << "a rank's rows are in the order of tokens";
        before = t;
        EXPECT_TRUE(t >= 0 && t < z.tokens && seen.insert(t).second) << t;
      }
      EXPECT_EQ(z.token(r, 0) + z.token(r, z.rows() - 1), z.tokens - 1) << "as far from the one end as from the other";
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), z.tokens);
  }
}

// Over all steps each pair of a query and a key that it sees comes once, on the rank that has the query.
TEST(Zigzag, EveryQueryMeetsEveryKeyOnce) {
  Rng rng(11);
  for (int ranks : {1, 2, 3, 4, 7})
    for (int64_t longest : {1, 3, 20, 1000}) {
      const Zigzag z{2 * ranks * (1 + static_cast<int64_t>(rng.below(9))), ranks};
      const std::vector<int32_t> cu = pack(rng, z.tokens, longest);
      std::set<std::pair<int64_t, int64_t>> met;
      for (int rank = 0; rank < ranks; ++rank) {
        const RingPlan plan = plan_ring(cu, z, rank);
        for (size_t step = 0; step < plan.steps.size(); ++step) {
          const int from = (rank - static_cast<int>(step) + ranks) % ranks;
          for (const auto& spans : plan.steps[step].spans) {
            std::set<int64_t> keys_of_call, queries_of_call;
            for (const AttentionSpan& s : spans) {
              EXPECT_GE(s.first, 0);
              EXPECT_LE(s.keys, s.first + s.queries) << "a key that nobody sees";
              for (int64_t k = s.k; k < s.k + s.keys; ++k) EXPECT_TRUE(keys_of_call.insert(k).second);
              for (int64_t i = 0; i < s.queries; ++i) {
                EXPECT_TRUE(queries_of_call.insert(s.q + i).second);
                for (int64_t k = 0; k < std::min(s.keys, s.first + 1 + i); ++k)
                  EXPECT_TRUE(met.insert({z.token(rank, s.q + i), z.token(from, s.k + k)}).second) << "met twice";
              }
            }
          }
        }
      }
      std::set<std::pair<int64_t, int64_t>> want;
      for (size_t i = 0; i + 1 < cu.size(); ++i)
        for (int64_t q = cu[i]; q < cu[i + 1]; ++q)
          for (int64_t k = cu[i]; k <= q; ++k) want.insert({q, k});
      EXPECT_EQ(met, want) << ranks << " ranks, " << z.tokens << " tokens";
    }
}

// One long sequence: the same number of pairs on every rank in every step. Only the first has the diagonal.
TEST(Zigzag, CausalWorkIsEven) {
  for (int ranks : {2, 3, 4, 8}) {
    const Zigzag z{2 * ranks * 16, ranks};
    const std::vector<int32_t> cu{0, static_cast<int32_t>(z.tokens)};
    for (int step = 0; step < ranks; ++step) {
      std::set<int64_t> work;
      for (int rank = 0; rank < ranks; ++rank) {
        int64_t n = 0;
        for (int half : {0, 1}) n += pairs_of(ring_spans(cu, z, rank, half, (rank - step + ranks) % ranks));
        work.insert(n);
      }
      const int64_t c = z.chunk();
      EXPECT_EQ(work, std::set<int64_t>{step == 0 ? c * (c + 1) + c * c : 2 * c * c}) << ranks << ", step " << step;
    }
    EXPECT_EQ(ring_steps(cu, z), ranks);
  }
}

// Sequences that end at the borders of chunks: nobody looks at another rank's keys, and the ring does not turn.
TEST(Zigzag, TheRingStopsWhenNobodySeesMore) {
  const Zigzag z{64, 4};
  EXPECT_EQ(ring_steps({0, 8, 16, 24, 32, 40, 48, 56, 64}, z), 1);
  EXPECT_EQ(ring_steps({0, 5, 8, 16, 24, 40, 48, 56, 64}, z), 1) << "chunks 3 and 4 are one rank's";
  EXPECT_EQ(ring_steps({0, 16, 24, 32, 40, 48, 56, 64}, z), 2) << "rank 1 sees rank 0's";
  EXPECT_EQ(ring_steps({0, 8, 16, 24, 32, 40, 56, 64}, z), 4) << "rank 1 sees rank 2's, three steps before it";
}

}  // namespace
}  // namespace puyu
