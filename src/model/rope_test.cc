// RoPE's stretched forms against numbers worked out from the papers' formulas.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace puyu {
namespace {

ModelConfig shape(const std::string& scaling, double factor) {
  ModelConfig c;  // 1.8B: HD 128, theta 1e6, 32,768 positions
  c.rope_scaling = scaling, c.rope_factor = factor;
  return c;
}

TEST(Rope, PlainFrequenciesAreRoFormers) {
  const RopeAngles a = rope_angles(ModelConfig());
  ASSERT_EQ(a.frequency.size(), 64u);
  EXPECT_EQ(a.frequency[0], 1);
  EXPECT_NEAR(a.frequency[32], 1e-3, 1e-15);  // theta^(-1/2)
  float row[128];
  write_rope_row(a, 5, row);
  EXPECT_FLOAT_EQ(row[0], static_cast<float>(std::cos(5.0)));
  EXPECT_FLOAT_EQ(row[64], static_cast<float>(std::sin(5.0)));
}

TEST(Rope, DynamicBaseFollowsFromThePrompt) {
  const ModelConfig c = shape("dynamic", 2);
  EXPECT_EQ(rope_base(c, 100), 1e6);
  EXPECT_EQ(rope_base(c, 32768), 1e6);
  // research/serving.md, section 6: 200,000 tokens give s' = 11.207 and a base of 1.1645e7.
  EXPECT_NEAR(rope_base(c, 200000), 1.1645e7, 0.0002e7);
  EXPECT_EQ(rope_angles(c, 32768).frequency, rope_angles(ModelConfig()).frequency);
  EXPECT_LT(rope_angles(c, 200000).frequency[63], rope_angles(c).frequency[63]);
}

TEST(Rope, LinearDividesPositions) {
  float scaled[128], plain[128];
  write_rope_row(rope_angles(shape("linear", 4)), 12, scaled);
  write_rope_row(rope_angles(ModelConfig()), 3, plain);
  for (int i = 0; i < 128; ++i) EXPECT_NEAR(scaled[i], plain[i], 1e-6) << i;
}

TEST(Rope, YarnKeepsFastPairsAndStretchesSlowOnes) {
  ModelConfig c = shape("yarn", 4);
  c.rope_theta = 1e4, c.rope_original_position = 4096;
  const RopeAngles a = rope_angles(c);
  ModelConfig p = c;
  p.rope_scaling = "";
  const RopeAngles plain = rope_angles(p);
  // low = floor(128 ln(4096 / (32 2 pi)) / (2 ln 1e4)) = 20, high = ceil(128 ln(4096 / 2 pi) / (2 ln 1e4)) = 46
  for (size_t i = 0; i < 64; ++i) {
    const double t = std::clamp((static_cast<double>(i) - 20) / 26, 0.0, 1.0);
    EXPECT_NEAR(a.frequency[i] / plain.frequency[i], t / 4 + 1 - t, 1e-12) << i;
  }
  EXPECT_NEAR(a.factor, 1.138629436, 1e-9);  // 0.1 ln 4 + 1
}

TEST(Rope, Llama3StretchesLongWavesOnly) {
  ModelConfig c = shape("llama3", 8);
  c.rope_theta = 5e5, c.rope_original_position = 8192, c.max_position = 131072;
  const RopeAngles a = rope_angles(c);
  ModelConfig p = c;
  p.rope_scaling = "";
  const RopeAngles plain = rope_angles(p);
  for (size_t i = 0; i < 64; ++i) {
    const double wave = 2 * std::numbers::pi / plain.frequency[i];
    const double smooth = (8192 / wave - 1) / 3;
    const double want = wave < 8192.0 / 4 ? 1 : wave > 8192 ? 1.0 / 8 : (1 - smooth) / 8 + smooth;
    EXPECT_NEAR(a.frequency[i] / plain.frequency[i], want, 1e-12) << i;
  }
}

TEST(Rope, ContextsFollowTheScaling) {
  EXPECT_EQ(shape("", 1).context(), 32768);
  EXPECT_EQ(shape("linear", 4).context(), 131072);
  EXPECT_EQ(shape("dynamic", 2).context(), 65536);
  ModelConfig y = shape("yarn", 4);
  y.rope_original_position = 32768;
  EXPECT_EQ(y.context(), 131072);
  y.max_position = 131072;  // some folders name the stretched length already
  EXPECT_EQ(y.context(), 131072);
  ModelConfig l = shape("llama3", 8);
  l.max_position = 131072, l.rope_original_position = 8192;
  EXPECT_EQ(l.context(), 131072);
  EXPECT_THROW(shape("longrope", 2).validate(), Error);
  EXPECT_THROW(shape("yarn", 0.5).validate(), Error);
}

}  // namespace
}  // namespace puyu
