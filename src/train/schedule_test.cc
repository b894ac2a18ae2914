#include "train/schedule.h"

#include <gtest/gtest.h>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"

namespace puyu {
namespace {

TrainOptions options() {
  TrainOptions o;
  o.lr = 2.0, o.warmup_steps = 4, o.min_lr_ratio = 0.1;
  o.phases.resize(2);
  o.phases[0].steps = 15, o.phases[1].steps = 10;
  return o;
}

TEST(Schedule, WarmsUpAndFollowsTheCosine) {
  TrainOptions o = options();
  EXPECT_DOUBLE_EQ(learning_rate(o, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(o, 3), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(o, 4), 2.0);
  EXPECT_NEAR(learning_rate(o, 9), 2 * (0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2), 1e-12);  // cos(pi / 4)
  EXPECT_NEAR(learning_rate(o, 14), 2 * 0.55, 1e-12);                                   // half way: cos(pi / 2)
  EXPECT_NEAR(learning_rate(o, 24), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate(o, 1000), 0.2, 1e-12);
}

TEST(Schedule, PhasesFollowOneAnotherAndScaleTheRate) {
  TrainOptions o = options();
  EXPECT_EQ(total_steps(o), 25);
  EXPECT_EQ(phase_of(o, 0), 0u);
  EXPECT_EQ(phase_of(o, 14), 0u);
  EXPECT_EQ(phase_of(o, 15), 1u);
  EXPECT_EQ(phase_of(o, 99), 1u);
  const double plain = learning_rate(o, 20);
  o.phases[1].lr_scale = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(o, 20), plain / 2);
  EXPECT_NEAR(learning_rate(o, 14), 2 * 0.55, 1e-12);
}

TEST(Options, BadValuesAreNamed) {
  auto error = [](auto change) -> std::string {
    TrainOptions o = options();
    o.data = {{"a", "a", 1, -1}};
    change(o);
    try {
      o.validate();
    } catch (const Error& e) { return e.what(); }
    return "";
  };
  EXPECT_EQ(error([](auto&) {}), "");
  EXPECT_NE(error([](auto& o) { o.lr = -1; }).find("lr: expected a positive"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.dtype = "f16"; }).find("dtype"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.phases[1].seq_len = 9000; }).find("phases.1.seq_len"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.phases[0].weights = {1, 2}; }).find("phases.0.weights"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.phases.clear(); }).find("[[phases]]"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.data.clear(); }).find("[[data]]"), std::string::npos);
}

TEST(Options, ShippedConfigsAreValidAndHaveThePublishedShapes) {
  const std::string dir = std::string(PUYU_SOURCE_DIR) + "/configs/";
  for (std::string size : {"tiny", "1.8b", "7b", "20b"}) {
    const std::string path = dir + (size == "tiny" ? size : "internlm2-" + size) + ".toml";
    TrainOptions o;
    load_config(o, read_file(path), path);
    EXPECT_NO_THROW(o.validate()) << path;
    if (size == "tiny") continue;
    EXPECT_EQ(o.model.num_params(), published_config(size).num_params());
  }
}

}  // namespace
}  // namespace puyu
