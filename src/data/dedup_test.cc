#include "data/dedup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"

namespace puyu {
namespace {

std::vector<std::string> random_words(int n, uint64_t seed) {
  Rng rng(seed);
  std::vector<std::string> out;
  for (int i = 0; i < n; ++i) out.push_back("w" + std::to_string(rng.below(100000)));
  return out;
}
std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (auto& w : words) out += w + " ";
  return out;
}
// The text with some words replaced.
std::string edited(std::vector<std::string> words, int edits, uint64_t seed) {
  Rng rng(seed);
  for (int i = 0; i < edits; ++i) words[rng.below(words.size())] = "edit" + std::to_string(rng.below(100000));
  return join(words);
}
DedupKey key(const std::string& text, uint64_t id, uint32_t date = 0) {
  return {{id, 0}, hash128(text), date, static_cast<uint32_t>(text.size()), minhash(text)};
}

TEST(MinHash, EstimateAgreesWithExactJaccard) {
  double error = 0, bias = 0;
  int n = 0;
  for (int edits : {0, 2, 5, 10, 20, 40, 80, 160})
    for (uint64_t seed = 0; seed < 12; ++seed, ++n) {
      auto words = random_words(400, seed);
      std::string a = join(words), b = edited(words, edits, seed + 99);
      double exact = exact_jaccard(a, b), estimate = similarity(minhash(a), minhash(b));
      EXPECT_NEAR(estimate, exact, 5 * std::sqrt(0.25 / kPermutations)) << edits;
      error += std::abs(estimate - exact), bias += estimate - exact;
    }
  EXPECT_LT(error / n, 0.04);  // sqrt(J (1 - J) / 128) <= 0.044
  EXPECT_LT(std::abs(bias / n), 0.01);
}

TEST(MinHash, ExactJaccardByHand) {
  EXPECT_DOUBLE_EQ(exact_jaccard("a b c d e f", "a b c d e g"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(exact_jaccard("床前明月光", "床前 明月光。"), 1.0);
  EXPECT_DOUBLE_EQ(exact_jaccard("A B c", "a b C"), 1.0);
}

TEST(Dedup, FindsPlantedDuplicatesOnly) {
  std::vector<DedupKey> keys;
  for (uint64_t d = 0; d < 200; ++d) {
    auto words = random_words(300, d);
    keys.push_back(key(join(words), d * 3));
    if (d % 2) keys.push_back(key(edited(words, 3, d), d * 3 + 1));        // similarity about 0.9
    if (d % 5 == 0) keys.push_back(key(edited(words, 60, d), d * 3 + 2));  // about 0.2
  }
  auto twins = find_duplicates(keys, {});
  int dropped = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (twins[i].survivor < 0) continue;
    ++dropped;
    EXPECT_EQ(keys[i].id.lo / 3, keys[twins[i].survivor].id.lo / 3);
    EXPECT_NE(keys[i].id.lo % 3, 2u);
  }
  EXPECT_EQ(dropped, 100);
}

TEST(Dedup, SurvivorIsNewestThenLongestThenSmallestId) {
  auto words = random_words(300, 5);
  std::string base = join(words), longer = base + "and a little more";
  auto survivor = [](std::vector<DedupKey> keys) {
    auto t = find_duplicates(keys, {});
    for (size_t i = 0; i < keys.size(); ++i)
      if (t[i].survivor < 0) return keys[i].id.lo;
    return uint64_t{0};
  };
  EXPECT_EQ(survivor({key(longer, 1), key(base, 2, 20230101), key(base + "x", 3, 20220101)}), 2u);
  EXPECT_EQ(survivor({key(base, 1), key(longer, 2)}), 2u);
  EXPECT_EQ(survivor({key(base, 7), key(base, 4), key(base, 9)}), 4u);
}

TEST(Dedup, OrderDoesNotMatter) {
  std::vector<DedupKey> keys;
  for (uint64_t d = 0; d < 60; ++d) {
    auto words = random_words(200, d / 4);
    keys.push_back(key(edited(words, static_cast<int>(d % 4) * 4, d), d, d % 3));
  }
  auto survivors = [](const std::vector<DedupKey>& k) {
    std::vector<uint64_t> out;
    auto t = find_duplicates(k, {});
    for (size_t i = 0; i < k.size(); ++i)
      if (t[i].survivor < 0) out.push_back(k[i].id.lo);
    std::sort(out.begin(), out.end());
    return out;
  };
  auto want = survivors(keys);
  EXPECT_LT(want.size(), keys.size());
  Rng rng(3);
  for (int i = 0; i < 10; ++i) {
    rng.shuffle(keys.begin(), keys.end());
    EXPECT_EQ(survivors(keys), want);
  }
}

TEST(Dedup, BadBandsAreRefused) {
  DedupOptions o;
  o.bands = 20;
  EXPECT_THROW(find_duplicates({}, o), Error);
}

}  // namespace
}  // namespace puyu
