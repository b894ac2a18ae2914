#include "data/corpus_plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/dedup.h"
#include "data/document.h"

namespace puyu {
namespace {

DataRates round_rates() {
  DataRates r;
  r.read_mbs = r.filter_mbs = r.sign_mbs = r.write_mbs = r.load_mbs = r.tokenize_mbs = 10;
  r.cluster_docs = 1e6, r.text_share = 0.5, r.kept_rules = 0.5, r.kept_dedup = 0.5, r.compression = 2;
  return r;
}
DataCluster big() {
  DataCluster c;
  c.nodes = 10, c.cores = 100, c.disk_mbs = 1e6, c.network_mbs = 1e6, c.memory_gb = 1e6, c.efficiency = 1;
  return c;
}

// 10 TB at 10 MB/s on 1000 cores: 1000 s to read, then halves.
TEST(CorpusPlan, ByHand) {
  const CorpusPlan p = plan_corpus({1e13, 1e9}, big(), round_rates());
  ASSERT_EQ(p.stages.size(), 7u);
  EXPECT_NEAR(p.stages[0].seconds, 1000, 1e-6);
  EXPECT_NEAR(p.stages[1].seconds, 500, 1e-6);
  EXPECT_NEAR(p.stages[2].seconds, 250, 1e-6);
  EXPECT_NEAR(p.stages[3].seconds, 250, 1e-6);
  EXPECT_NEAR(p.stages[4].seconds, 5e8 / (1e6 * 10), 1e-6);
  EXPECT_NEAR(p.stages[5].seconds, 250 + 125, 1e-6);
  EXPECT_NEAR(p.stages[6].seconds, 250, 1e-6);
  EXPECT_NEAR(p.seconds, 1000 + 500 + 250 + 250 + 50 + 375 + 250, 1e-6);
  EXPECT_NEAR(p.tokens, 1.25e12 / 4, 1);
  EXPECT_EQ(p.stages[0].bound, "cores");
  EXPECT_NEAR(p.stages[2].disk_written, 5e8 * (sizeof(DedupKey) + sizeof(Signature)), 1);
}

TEST(CorpusPlan, SlowDisksAndLittleMemory) {
  DataCluster c = big();
  c.disk_mbs = 100;
  CorpusPlan p = plan_corpus({1e13, 1e9}, c, round_rates());
  EXPECT_EQ(p.stages[0].bound, "disk");
  EXPECT_NEAR(p.stages[0].seconds, 1e13 / (10 * 100e6), 1e-6);
  EXPECT_EQ(p.passes, 1);
  c.memory_gb = 64;
  p = plan_corpus({1e13, 1e9}, c, round_rates());
  EXPECT_GT(p.passes, 1);
  EXPECT_LE(p.stages[4].memory, 64e9);
}

TEST(CorpusPlan, SizesAgreeOrAreRefused) {
  EXPECT_EQ(corpus_size(1e9, 0, 1000).documents, 1e6);
  EXPECT_EQ(corpus_size(0, 1e6, 1000).bytes, 1e9);
  EXPECT_NO_THROW(corpus_size(1e9, 1e6, 1000));
  EXPECT_THROW(corpus_size(1e9, 1e6, 2000), Error);
  EXPECT_THROW(corpus_size(1e9, 0, 0), Error);
  EXPECT_THROW(corpus_size(-1, 1e6, 0), Error);
  EXPECT_THROW(corpus_size(10, 100, 0), Error);
  EXPECT_THROW(default_rates("wbe"), Error);
  DataCluster c;
  c.nodes = 0;
  EXPECT_THROW(plan_corpus({1e9, 1e6}, c, default_rates("text")), Error);
  DataRates r = default_rates("web");
  r.kept_dedup = 1.5;
  EXPECT_THROW(plan_corpus({1e9, 1e6}, {}, r), Error);
}

TEST(CorpusPlan, AHundredTerabytesOnPaper) {
  DataCluster c;
  c.nodes = 100, c.cores = 64, c.memory_gb = 256;
  const CorpusPlan p = plan_corpus(corpus_size(1e14, 0, 60e3), c, default_rates("web"));
  EXPECT_TRUE(std::isfinite(p.seconds));
  EXPECT_LE(p.memory, 256e9);
  EXPECT_GT(p.disk, 1e14 / default_rates("web").input_compression);
}

constexpr const char* kWords[] = {
    "the",     "and",   "to",      "of",     "that",   "have",     "with",   "be",      "river",  "people",  "morning",
    "walked",  "house", "through", "garden", "winter", "children", "market", "because", "answer", "letters", "carried",
    "village", "bread", "quietly", "summer", "friend", "mountain", "always", "window",  "doctor", "evening", "history",
    "brought", "water", "against", "simple", "spoken", "question", "little", "brother", "ground", "weather", "thought"};

// Rates come from what is really there: shares and counts are exact, speeds are positive.
TEST(CorpusRates, OfASample) {
  const test::TempDir dir;
  std::string lines;
  Rng rng(1);
  for (int i = 0; i < 50; ++i) {
    Document d;
    for (int sentence = 0; sentence < 40; ++sentence) {
      d.content += "The ";
      for (int w = 0; w < 12; ++w) d.content += cat(kWords[rng.below(std::size(kWords))], w < 11 ? " " : ".\n");
    }
    if (i % 2) d.content = "x";
    lines += to_json_line(d);
  }
  write_file(dir.path + "/a.jsonl", lines);
  const DataRates r = measure_rates(dir.path, "", 1 << 30, default_rates("text"));
  for (double v : {r.read_mbs, r.filter_mbs, r.sign_mbs, r.write_mbs, r.load_mbs, r.cluster_docs}) EXPECT_GT(v, 0);
  EXPECT_GT(r.kept_rules, 0.9);
  EXPECT_LT(r.kept_rules, 1);
  EXPECT_GT(r.text_share, 0.5);
  EXPECT_LT(r.text_share, 1);
  EXPECT_EQ(r.input_compression, 1);
  EXPECT_GT(r.compression, 1);
  EXPECT_EQ(r.tokenize_mbs, default_rates("text").tokenize_mbs);
  EXPECT_THROW(measure_rates(dir.path + "/none", "", 1000, r), Error);
}

}  // namespace
}  // namespace puyu
