// What the tests of this folder share: a model of a few thousand parameters and shards of made-up documents.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "train/checkpoint.h"
#include "train/loader.h"
#include "train/trainer.h"

namespace puyu::test {

inline ModelConfig tiny_model() {
  ModelConfig c;
  c.vocab_size = 40, c.hidden_size = 16, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2, c.head_dim = 4;
  c.intermediate_size = 24, c.rope_theta = 1e4, c.max_position = 128;
  return c;
}

class FolderTest : public ::testing::Test {
  TempDir folder_;

 protected:
  std::string dir = folder_.path;
};

// Documents of 1 … max_len tokens that count upwards from a random id, so that there is something to learn.
inline std::vector<std::vector<int32_t>> make_documents(int n, int64_t max_len, uint64_t seed) {
  Rng rng(seed);
  std::vector<std::vector<int32_t>> docs(n);
  for (auto& d : docs) {
    auto at = static_cast<int32_t>(rng.below(40));
    d.resize(1 + rng.below(max_len));
    for (auto& id : d) id = at++ % 40;
  }
  return docs;
}
inline void write_shard(const std::string& path, const std::vector<std::vector<int32_t>>& docs, uint64_t tokenizer = 7,
                        uint16_t source = 0) {
  ShardWriter w(path, 2, tokenizer);
  for (const auto& d : docs) w.add(d.data(), static_cast<int64_t>(d.size()), source);
  w.commit();
}

// Two sources, two phases, validation; the shards are written to dir.
inline TrainOptions tiny_run(const std::string& dir) {
  write_shard(dir + "/a", make_documents(60, 50, 1));
  write_shard(dir + "/b", make_documents(40, 20, 2));
  TrainOptions o;
  o.model = tiny_model(), o.threads = 1;
  o.batch_tokens = 128, o.micro_tokens = 48, o.lr = 1e-2, o.warmup_steps = 3, o.valid_every = 4;
  o.valid_tokens = 100, o.checkpoint_every = 3, o.log_every = 1000;
  o.phases.resize(2);
  o.phases[0].name = "short", o.phases[0].steps = 8, o.phases[0].seq_len = 16;
  o.phases[1].name = "long", o.phases[1].steps = 6, o.phases[1].seq_len = 40, o.phases[1].rope_theta = 1e5;
  o.phases[1].weights = {1, 3};
  o.data = {{"a", dir + "/a", 2, -1}, {"b", dir + "/b", 1, -1}};
  o.valid = {{"a", dir + "/a", 1, -1}};
  return o;
}

}  // namespace puyu::test
