// The plan against what an engine then takes.
#include "engine/serve_plan.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace puyu {
namespace {

TEST(ServePlan, CountsThePublishedShapes) {
  const EngineOptions o;
  const ServePlan p = plan_serving(published_config("1.8b"), DType::kBF16, o, int64_t{24} << 30);
  EXPECT_EQ(p.kv_bytes_per_token, 96 * 1024);  // research/serving.md, section 0
  EXPECT_NEAR(static_cast<double>(p.weight_bytes), 2.0 * 1.889e9, 0.02e9);
  EXPECT_EQ(p.context, 32768);
  EXPECT_EQ(p.cache_tokens, 32768);
  EXPECT_EQ(warning(p), "");
  EXPECT_NE(to_text(p).find("the whole cache"), std::string::npos);
  EngineOptions small;
  small.kv_bits = 4, small.weights = "w8a8";
  const ServePlan q = plan_serving(published_config("1.8b"), DType::kBF16, small, int64_t{24} << 30);
  EXPECT_EQ(q.kv_bytes_per_token, 27648);
  EXPECT_LT(static_cast<double>(q.weight_bytes), 0.62 * static_cast<double>(p.weight_bytes));  // embeddings stay bf16
}

TEST(ServePlan, SaysWhatDoesNotFit) {
  EngineOptions o;
  o.context = 200000, o.rope_factor = 2;
  const ServePlan p = plan_serving(published_config("7b"), DType::kBF16, o, int64_t{24} << 30);
  EXPECT_EQ(p.context, 200000);
  EXPECT_GT(p.tokens_that_fit, 50000);
  EXPECT_LT(p.tokens_that_fit, 90000);
  EXPECT_NE(warning(p).find(cat("--engine.kv_tokens=", p.tokens_that_fit / 64 * 64)), std::string::npos) << warning(p);
  EXPECT_NE(warning(plan_serving(published_config("20b"), DType::kBF16, o, int64_t{24} << 30)).find("w4a8"),
            std::string::npos);
  EXPECT_GT(available_memory(), 0);
}

}  // namespace
}  // namespace puyu
