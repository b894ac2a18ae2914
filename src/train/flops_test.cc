#include "train/flops.h"

#include <gtest/gtest.h>

namespace puyu {
namespace {

// The 7B shape at 4,096 tokens: 47.4 GFLOP a token by our count and 55.4 by InternEvo's (which its published MFU is
// of); the last is worked out by hand from Megatron-LM's formula.
TEST(Flops, ThePublishedShape) {
  const ModelConfig c = published_config("7b");
  EXPECT_NEAR(c.train_flops_per_token(4096) / 1e9, 47.4, 0.05);
  EXPECT_NEAR(internevo_flops_per_token(c, 4096, false) / 1e9, 55.4, 0.05);
  const double blocks = 32 * (2.0 * 4096 * 4096 + 2.0 * 1024 * 4096 + 3.0 * 4096 * 14336);
  const double attention = 12.0 * 32 * 4096 * 4096;  // 4 s h forward, three times
  EXPECT_NEAR(megatron_lm_flops_per_token(c, 4096), 6 * blocks + attention + 6.0 * 92544 * 4096, 1e4);
  // A full recompute adds a forward pass of the blocks to InternEvo's count.
  const double head = 6.0 * 4096 * 92544;
  EXPECT_NEAR(internevo_flops_per_token(c, 4096, true) - head,
              4.0 / 3 * (internevo_flops_per_token(c, 4096, false) - head), 1e4);
}

}  // namespace
}  // namespace puyu
