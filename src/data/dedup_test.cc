#include "data/dedup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "base/utf8.h"
#include "data/words.h"

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
struct Doc {
  DedupKey key;
  Signature signature;
};
Doc key(const std::string& text, uint64_t id, uint32_t date = 0) {
  return {{{id, 0}, hash128(text), date, static_cast<uint32_t>(text.size()), 0}, minhash(text)};
}
struct Keys {
  std::vector<DedupKey> keys;
  std::vector<Signature> signatures;
  explicit Keys(const std::vector<Doc>& docs) {
    for (const Doc& d : docs) keys.push_back(d.key), signatures.push_back(d.signature);
  }
  DedupView view() const { return {keys.data(), signatures.data(), static_cast<int64_t>(keys.size())}; }
};
std::vector<Duplicate> duplicates_of(const std::vector<Doc>& docs, const DedupOptions& o = {}) {
  return find_duplicates(Keys(docs).view(), o);
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
  std::vector<Doc> keys;
  for (uint64_t d = 0; d < 200; ++d) {
    auto words = random_words(300, d);
    keys.push_back(key(join(words), d * 3));
    if (d % 2) keys.push_back(key(edited(words, 3, d), d * 3 + 1));        // similarity about 0.9
    if (d % 5 == 0) keys.push_back(key(edited(words, 60, d), d * 3 + 2));  // about 0.2
  }
  auto twins = duplicates_of(keys);
  int dropped = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (twins[i].survivor < 0) continue;
    ++dropped;
    EXPECT_EQ(keys[i].key.id.lo / 3, keys[twins[i].survivor].key.id.lo / 3);
    EXPECT_NE(keys[i].key.id.lo % 3, 2u);
  }
  EXPECT_EQ(dropped, 100);
}

TEST(Dedup, SurvivorByRule) {
  auto words = random_words(300, 5);
  std::string base = join(words), longer = base + "and a little more";
  auto survivor = [](const std::vector<Doc>& docs, const char* rule) {
    DedupOptions o;
    o.survivor = rule;
    auto t = duplicates_of(docs, o);
    uint64_t id = 0;
    int left = 0;
    for (size_t i = 0; i < docs.size(); ++i)
      if (t[i].survivor < 0) id = docs[i].key.id.lo, ++left;
    EXPECT_EQ(left, 1) << rule;
    return id;
  };
  std::vector<Doc> dated = {key(longer, 1), key(base, 2, 20230101), key(base + "x", 3, 20220101)};
  EXPECT_EQ(survivor(dated, "newest"), 2u);
  EXPECT_EQ(survivor(dated, "oldest"), 3u);  // an unknown date is not the oldest
  EXPECT_EQ(survivor(dated, "longest"), 1u);
  EXPECT_EQ(survivor({key(base + "x", 9), key(longer, 7), key(base, 8)}, "smallest_id"), 7u);
  EXPECT_EQ(survivor({key(base, 1), key(longer, 2)}, "newest"), 2u);
  EXPECT_EQ(survivor({key(base, 7), key(base, 4), key(base, 9)}, "newest"), 4u);
  DedupOptions o;
  o.survivor = "first";
  EXPECT_THROW(duplicates_of(dated, o), Error);
}

TEST(Dedup, OrderDoesNotMatter) {
  std::vector<Doc> keys;
  for (uint64_t d = 0; d < 60; ++d) {
    auto words = random_words(200, d / 4);
    keys.push_back(key(edited(words, static_cast<int>(d % 4) * 4, d), d, d % 3));
  }
  auto survivors = [](const std::vector<Doc>& k) {
    std::vector<uint64_t> out;
    auto t = duplicates_of(k);
    for (size_t i = 0; i < k.size(); ++i)
      if (t[i].survivor < 0) out.push_back(k[i].key.id.lo);
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

TEST(MinHash, VectorCodeGivesThePlainNumbers) {
  Rng rng(1);
  std::array<uint32_t, kPermutations> a, b;
  for (int i = 0; i < kPermutations; ++i)
    a[i] = static_cast<uint32_t>(rng.next()), b[i] = static_cast<uint32_t>(rng.next());
  auto variants = minima_variants();
  for (size_t n : {0, 1, 2, 7, 500}) {
    std::vector<uint32_t> x(n);
    for (uint32_t& v : x) v = static_cast<uint32_t>(rng.next());
    Signature want;
    want.fill(0xffffffffu);
    for (uint32_t v : x)
      for (int i = 0; i < kPermutations; ++i) want[i] = std::min<uint32_t>(want[i], a[i] * v + b[i]);
    for (const MinimaVariant& v : variants) {
      Signature got;
      got.fill(0xffffffffu);
      v.run(a.data(), b.data(), x.data(), n, got.data());
      EXPECT_EQ(got, want) << v.name << " " << n;
    }
  }
}

// The rolled hashes tell n-grams apart exactly as comparing their texts does.
TEST(MinHash, ShinglesAreTheNgramsOfSplitWords) {
  std::string text = "Déjà vu: THE cat_1 sat，床前明月光。ｆｕｌｌ ½ \xff broken ";
  for (int i = 0; i < 300; ++i) text += random_words(1, i % 7)[0] + (i % 3 ? " 好" : ", ");
  for (int n : {1, 2, 5, 13})
    for (size_t length : {size_t{0}, size_t{1}, size_t{9}, text.size()}) {
      std::string part = text.substr(0, length);
      std::vector<uint32_t> hashes = shingle_hashes(part, n);
      auto words = split_words(part);
      size_t k = std::min<size_t>(n, words.size());
      ASSERT_EQ(hashes.size(), k ? words.size() - k + 1 : 0) << n << " " << length;
      std::map<std::string, uint32_t> seen;
      std::set<uint32_t> distinct(hashes.begin(), hashes.end());
      for (size_t i = 0; i < hashes.size(); ++i) {
        std::string gram;
        for (size_t j = 0; j < k; ++j) gram += std::string(words[i + j].text) + '\n';
        for (char& c : gram) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
        EXPECT_EQ(seen.emplace(gram, hashes[i]).first->second, hashes[i]);
      }
      EXPECT_EQ(seen.size(), distinct.size());
    }
  EXPECT_THROW(minhash("a", 0), Error);
  EXPECT_THROW(minhash("a", 33), Error);
}

TEST(Lsh, BandsAreChosenForTheThreshold) {
  // What datasketch chooses for 128 functions; RedPajama-v2 uses the same.
  EXPECT_EQ(choose_banding(0.7), (Banding{14, 9}));
  EXPECT_EQ(choose_banding(0.8), (Banding{9, 13}));
  EXPECT_EQ(choose_banding(0.9), (Banding{5, 25}));
  EXPECT_NEAR(knee({14, 9}), 0.746, 5e-4);
  EXPECT_NEAR(knee({20, 13}), 0.794, 5e-4);                       // NeMo Curator's
  EXPECT_NEAR(candidate_probability({14, 8}, 0.8), 0.924, 5e-4);  // datatrove's
  EXPECT_THROW(choose_banding(0), Error);
  EXPECT_NE(format_banding({14, 9}, 0.7).find("14 bands x 9 rows, knee 0.746"), std::string::npos);
}

TEST(Lsh, VerifiedProbabilityIsExact) {
  // Without a threshold the sum over agreeing places must give the closed form.
  for (Banding b : {Banding{14, 9}, Banding{5, 25}, Banding{128, 1}, Banding{1, 128}})
    for (double s : {0.05, 0.3, 0.5, 0.7, 0.9, 0.99})
      EXPECT_NEAR(pair_probability(b, s, 0), candidate_probability(b, s), 1e-6) << b.bands << " " << s;
  // With one: drawn signatures.
  Rng rng(4);
  for (double s : {0.6, 0.7, 0.8}) {
    int hits = 0;
    constexpr int kDraws = 20000;
    for (int t = 0; t < kDraws; ++t) {
      int agree = 0;
      bool band = false, whole = true;
      for (int i = 0; i < kPermutations; ++i) {
        if (i % 9 == 0) whole = i < 126;
        bool same = rng.uniform() < s;
        agree += same, whole &= same;
        if (i % 9 == 8) band |= whole;
      }
      hits += band && agree >= 0.7 * kPermutations;
    }
    double p = pair_probability({14, 9}, s, 0.7);
    EXPECT_NEAR(hits / double{kDraws}, p, 4.5 * std::sqrt(p * (1 - p) / kDraws)) << s;
  }
}

// Planted pairs of known exact similarity are found as often as theory says: the hash functions behave like independent
// permutations. 4.5 standard deviations of
// the binomial, and of the estimate's mean and variance, are allowed.
TEST(Lsh, PlantedPairsFollowTheTheoreticalCurve) {
  for (bool chinese : {false, true}) {
    DedupOptions o;
    o.bands = 14, o.rows = 9;  // chosen once, not for every pair
    std::map<int, std::array<double, 6>>
        bins;  // by similarity in hundredths: n, found, expected, variance, error, error²
    for (uint64_t seed = 0; seed < 1500; ++seed) {
      Rng rng(seed, chinese);
      std::string a, b;
      double change = 0.001 + 0.1 * rng.uniform();
      for (int w = 0; w < 220; ++w) {
        auto word = [&] {
          std::string out;
          if (chinese)
            append_utf8(out, static_cast<char32_t>(0x4e00 + rng.below(6000)));
          else
            out = "w" + std::to_string(rng.below(50000)) + " ";
          return out;
        };
        std::string same = word();
        a += same;
        b += rng.uniform() < change ? word() : same;
      }
      double j = exact_jaccard(a, b), estimate = similarity(minhash(a), minhash(b));
      auto twins = duplicates_of({key(a, 1), key(b, 2)}, o);
      double p = pair_probability({14, 9}, j, 0.7);
      if (j == 1) continue;
      auto& bin = bins[static_cast<int>(j * 10)];
      bin[0] += 1, bin[1] += twins[0].survivor >= 0 || twins[1].survivor >= 0, bin[2] += p, bin[3] += p * (1 - p);
      double z = (estimate - j) / std::sqrt(j * (1 - j) / kPermutations);
      bin[4] += z, bin[5] += z * z;
    }
    EXPECT_GE(bins.size(), 7u);
    for (auto& [s, b] : bins) {
      EXPECT_NEAR(b[1], b[2], 4.5 * std::sqrt(b[3]) + 0.5) << s << (chinese ? " zh" : " en") << " of " << b[0];
      if (b[0] < 50) continue;
      EXPECT_NEAR(b[4] / b[0], 0, 4.5 / std::sqrt(b[0])) << "bias at " << s;
      EXPECT_NEAR(b[5] / b[0], 1, 4.5 * std::sqrt(2 / b[0]) + 0.05) << "variance at " << s;
    }
  }
}

TEST(Buckets, SortedOnDiskIsSortedInMemory) {
  test::TempDir dir;
  Rng rng(9);
  std::vector<uint64_t> hashes;
  for (int i = 0; i < 20000; ++i) hashes.push_back(mix64(rng.below(9000)));
  auto run = [&](const BucketSpace& space) {
    std::vector<std::vector<int64_t>> out;
    auto hash = [&](int64_t i, uint64_t& h) {
      h = hashes[i];
      return i % 11 != 0;
    };
    for_each_bucket(static_cast<int64_t>(hashes.size()), space, hash, [&](auto& members) { out.push_back(members); });
    return out;
  };
  auto want = run({});
  EXPECT_GT(want.size(), 3000u);
  BucketSpace small{40000, dir / "scratch"};
  EXPECT_EQ(bucket_parts(20000, small), 10);
  EXPECT_EQ(run(small), want);
  EXPECT_FALSE(file_exists(small.scratch));
  EXPECT_THROW(run({40000, ""}), Error);
}

TEST(Dedup, MemoryIsPlannedBeforeTheStart) {
  DedupOptions o;
  o.memory_mb = 64;
  DedupPlan fits = plan_dedup(1000000, o, 2);
  EXPECT_EQ(fits.parts, 1);
  DedupPlan spills = plan_dedup(2500000, o, 2);
  EXPECT_GT(spills.parts, 1);
  EXPECT_LE(spills.memory_bytes, o.memory_mb << 20);
  EXPECT_GT(spills.disk_bytes, 2500000 * 512);
  EXPECT_THROW(plan_dedup(100000000, o, 2), Error);
}

TEST(Dedup, TextWithoutAWordIsNearToNothing) {
  auto twins = duplicates_of({key("!!!", 1), key("...?", 2), key("!!!", 3)});
  EXPECT_LT(twins[0].survivor, 0);
  EXPECT_LT(twins[1].survivor, 0);
  EXPECT_TRUE(twins[2].exact);
}

TEST(Dedup, BadBandsAreRefused) {
  DedupOptions o;
  o.bands = 20;
  EXPECT_THROW(find_duplicates({}, o), Error);
}

}  // namespace
}  // namespace puyu
