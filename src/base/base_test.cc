// The small parts of base/: error, rng, parallel, hash, progress.
#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/rng.h"

namespace puyu {
namespace {

TEST(Error, CatWritesNumbersShort) {
  EXPECT_EQ(cat("a", 'b', 3, -4L, true, 0.1, 1.0, 1234567.0, std::string("c")), "ab3-4true0.111.23457e+06c");
}

TEST(Rng, GoldenValues) {  // a changed generator would change every run ever recorded
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ull), 0xe220a8397b1dcdafull) << "SplitMix64 with seed 0, first output";
  EXPECT_EQ(mix64(2 * 0x9e3779b97f4a7c15ull), 0x6e789e6aa1b965f4ull) << "and the second";
  Rng r(42, 7);
  const std::array<uint64_t, 3> first = {r.next(), r.next(), r.next()};
  Rng again(42, 7);
  again.counter = 2;  // skipping ahead is an addition
  EXPECT_EQ(again.next(), first[2]);
  EXPECT_NE(Rng(42, 8).next(), first[0]);
  EXPECT_NE(Rng(43, 7).next(), first[0]);
}

TEST(Rng, LooksUniformAndNormal) {
  Rng r(1);
  constexpr int kN = 200'000, kBins = 64;
  std::array<int, kBins> count{};
  double sum = 0, squares = 0;
  for (int i = 0; i < kN; ++i) {
    double u = r.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    ++count[r.below(kBins)];
    double z = r.normal();
    sum += z, squares += z * z;
  }
  double chi2 = 0, expect = double(kN) / kBins;
  for (int c : count) chi2 += (c - expect) * (c - expect) / expect;
  EXPECT_LT(chi2, 110);  // 63 degrees of freedom: p < 0.0003
  EXPECT_NEAR(sum / kN, 0, 0.01);
  EXPECT_NEAR(squares / kN, 1, 0.015);
}

TEST(Rng, ShuffleIsAPermutation) {
  std::vector<int> v(1000), sorted;
  std::iota(v.begin(), v.end(), 0);
  Rng r(5);
  r.shuffle(v.begin(), v.end());
  sorted = v;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_NE(v, sorted);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(sorted[static_cast<size_t>(i)], i);
}

TEST(Parallel, RunsEachIndexOnce) {
  for (int64_t n : {0, 1, 2, 1000}) {
    std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
    parallel_for(n, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
    for (auto& s : seen) EXPECT_EQ(s, 1);
  }
}

TEST(Parallel, AnExceptionReachesTheCaller) {
  std::atomic<int> ran{0};
  EXPECT_THROW(parallel_for(100'000,
                            [&](int64_t i) {
                              ++ran;
                              if (i == 3) fail("at three");
                            }),
               Error);
  EXPECT_GE(ran, 1);
  EXPECT_THROW(parallel_for(1, [](int64_t) { fail("alone"); }), Error);
  int after = 0;
  parallel_for(1, [&](int64_t) { ++after; });
  EXPECT_EQ(after, 1) << "the pool works on";
}

TEST(Hash, PiecesGiveTheWhole) {
  std::string text;
  Rng r(9);
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(r.below(256));
  for (size_t cut : {size_t{0}, size_t{1}, size_t{240}, size_t{1024}, text.size()}) {
    Hasher h;
    h.update(std::string_view(text).substr(0, cut));
    h.update(std::string_view(text).substr(cut));
    EXPECT_EQ(h.digest(), hash64(text));
  }
  // XXH3's published test values: the formats depend on them.
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2ull);
  EXPECT_EQ(hash128("").hi, 0x99aa06d3014798d8ull);
  EXPECT_EQ(hash128("").lo, 0x6001c324468d497full);
  EXPECT_NE(hash64("a", 1), hash64("a", 2));
}

TEST(Progress, Formats) {
  EXPECT_EQ(format_count(0, "B"), "0 B");
  EXPECT_EQ(format_count(999, "B"), "999 B");
  EXPECT_EQ(format_count(1000, "B"), "1.00 kB");
  EXPECT_EQ(format_count(12345678, "B"), "12.3 MB");
  EXPECT_EQ(format_count(4100, "tok"), "4.10k tok");
  EXPECT_EQ(format_count(3, "step"), "3 step");
  EXPECT_EQ(format_count(0.25, "step"), "0.25 step") << "a slow rate is not nought";
  EXPECT_EQ(format_count(999'999, "tok"), "1.00M tok") << "rounding goes up to the next scale";
  EXPECT_EQ(format_count(999.7, "tok"), "1.00k tok");
  EXPECT_EQ(format_count(9'996, "tok"), "10.0k tok");
  EXPECT_EQ(format_count(5e18, "tok"), "5000000T tok");
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(3725), "1:02:05");
  EXPECT_EQ(format_duration(-3), "0:00");
}

}  // namespace
}  // namespace puyu
