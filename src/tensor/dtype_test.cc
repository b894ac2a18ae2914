#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace puyu {
namespace {

// Round to nearest, ties to even, decided in double: the two bf16 neighbours of f are compared by distance.
uint16_t reference_bf16(float f) {
  auto u = std::bit_cast<uint32_t>(f);
  auto down = static_cast<uint16_t>(u >> 16), up = static_cast<uint16_t>(down + 1);  // away from nought
  double lo = to_float(BF16{down}), hi = to_float(BF16{up});
  if (std::isinf(hi)) hi = std::copysign(std::ldexp(1.0, 128), lo);  // the value the next exponent would have
  double a = std::fabs(f - lo), b = std::fabs(hi - static_cast<double>(f));
  return a < b || (a == b && down % 2 == 0) ? down : up;
}

TEST(BFloat16, RoundsToNearestEven) {
  Rng rng(11);
  for (int i = 0; i < 200'000; ++i) {
    auto u = static_cast<uint32_t>(rng.next());
    if (i % 2) u = (u & 0xFFFF0000u) | static_cast<uint32_t>(0x7FFE + rng.below(5));  // near the tie
    auto f = std::bit_cast<float>(u);
    if (!std::isfinite(f)) continue;
    ASSERT_EQ(to_bf16(f).bits, reference_bf16(f)) << std::hexfloat << f;
  }
}

TEST(BFloat16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t b = 0; b < 65536; ++b) {
    BF16 v{static_cast<uint16_t>(b)};
    if (std::isnan(to_float(v)))
      ASSERT_TRUE(std::isnan(to_float(to_bf16(to_float(v)))));
    else
      ASSERT_EQ(to_bf16(to_float(v)).bits, v.bits);
  }
}

TEST(BFloat16, SpecialValues) {
  EXPECT_EQ(to_bf16(-0.0f).bits, 0x8000);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::infinity()).bits, 0x7F80);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7F80) << "rounds up to infinity";
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x7F800001u)).bits & 0x7FC0, 0x7FC0) << "a NaN stays one, made quiet";
}

}  // namespace
}  // namespace puyu
