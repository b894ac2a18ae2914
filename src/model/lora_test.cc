// Adapters: what add_lora computes, PEFT's folders, and what is refused.
#include "model/lora.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "model/lora_test_util.h"

namespace puyu {
namespace {

ModelConfig tiny() {
  ModelConfig c;
  c.vocab_size = 67, c.hidden_size = 32, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 48, c.rope_theta = 1e4, c.max_position = 512;
  return c;
}

struct Lab {
  Arena scratch{"scratch", 1 << 26};
  Ctx ctx{Device::kCpu, &scratch};
};

// y = add_lora(0, x) for every row of x, in f32.
std::vector<float> delta(Lab& lab, const Lora& l, LoraPair Block<LoraPair>::* which, const std::vector<float>& x,
                         int64_t K, int64_t N) {
  const int64_t T = static_cast<int64_t>(x.size()) / K;
  std::vector<float> y(static_cast<size_t>(T * N), 0.0f);
  const LoraRows rows{0, T, &l.pairs.layers[1]};
  add_lora(lab.ctx, make_view(y.data(), T, N), make_view(const_cast<float*>(x.data()), T, K), {&rows, 1}, which);
  return y;
}

TEST(Lora, AddsTheLowRankProduct) {
  Lab lab;
  test::TempDir dir;
  const ModelConfig c = tiny();
  const AdapterFile file = write_adapter(dir.path, c, {{"feed_forward.w2", {32, 48}}}, 4, 8, 1);
  const Lora l = load_lora(lab.ctx, lab.ctx, dir.path, c, DType::kF32);
  EXPECT_FALSE(l.pairs.layers[0].w1.a);
  Rng rng(5);
  std::vector<float> x(3 * 48);
  for (float& v : x) v = static_cast<float>(rng.normal());
  const std::vector<float> y = delta(lab, l, &Block<LoraPair>::w2, x, 48, 32);
  const auto& a = file.tensors.at("base_model.model.model.layers.1.feed_forward.w2.lora_A.weight");
  const auto& b = file.tensors.at("base_model.model.model.layers.1.feed_forward.w2.lora_B.weight");
  for (size_t t = 0; t < 3; ++t)
    for (size_t n = 0; n < 32; ++n) {
      double want = 0;
      for (size_t r = 0; r < 4; ++r)
        for (size_t k = 0; k < 48; ++k)
          want += 8.0 / 4 * static_cast<double>(b[n * 4 + r]) * static_cast<double>(a[r * 48 + k] * x[t * 48 + k]);
      EXPECT_NEAR(static_cast<double>(y[t * 32 + n]), want, 1e-4) << t << " " << n;
    }
}

// q, k and v apart, as LLaMA's folders have them, are the same as one adapter of the interleaved matrix.
TEST(Lora, JoinsQKAndV) {
  Lab lab;
  test::TempDir dir;
  const ModelConfig c = tiny();  // rows of wqkv: kv head 0: q0 q1 k0 v0, kv head 1: q2 q3 k1 v1, 8 each
  const AdapterFile file =
      write_adapter(dir.path, c, {{"self_attn.q_proj", {32, 32}}, {"self_attn.v_proj", {16, 32}}}, 2, 2, 3);
  const Lora l = load_lora(lab.ctx, lab.ctx, dir.path, c, DType::kF32);
  std::vector<float> x(32);
  Rng rng(5);
  for (float& v : x) v = static_cast<float>(rng.normal());
  const std::vector<float> y = delta(lab, l, &Block<LoraPair>::wqkv, x, 32, 64);
  auto product = [&](const std::string& module, size_t row) {
    const auto& a = file.tensors.at("base_model.model.model.layers.1." + module + ".lora_A.weight");
    const auto& b = file.tensors.at("base_model.model.model.layers.1." + module + ".lora_B.weight");
    double sum = 0;
    for (size_t r = 0; r < 2; ++r)
      for (size_t k = 0; k < 32; ++k)
        sum += static_cast<double>(b[row * 2 + r]) * static_cast<double>(a[r * 32 + k] * x[k]);
    return sum;
  };
  for (size_t kv = 0; kv < 2; ++kv)
    for (size_t d = 0; d < 8; ++d) {
      const float* head = y.data() + kv * 32 + d;
      EXPECT_NEAR(static_cast<double>(head[0]), product("self_attn.q_proj", (2 * kv) * 8 + d), 1e-5);
      EXPECT_NEAR(static_cast<double>(head[8]), product("self_attn.q_proj", (2 * kv + 1) * 8 + d), 1e-5);
      EXPECT_EQ(head[16], 0);
      EXPECT_NEAR(static_cast<double>(head[24]), product("self_attn.v_proj", kv * 8 + d), 1e-5);
    }
}

TEST(Lora, RefusesWhatItWouldGetWrong) {
  Lab lab;
  const ModelConfig c = tiny();
  auto expect_error = [&](const std::string& dir, const std::string& part) {
    try {
      load_lora(lab.ctx, lab.ctx, dir, c, DType::kF32);
      ADD_FAILURE() << "expected an error with '" << part << "'";
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what(); }
  };
  test::TempDir empty;
  expect_error(empty.path, "adapter_config.json");
  test::TempDir unknown;
  write_adapter(unknown.path, c, {{"feed_forward.w2", {32, 48}}, {"mlp.router", {32, 32}}}, 4, 8, 1);
  expect_error(unknown.path, "fits nothing here");
  test::TempDir shape;
  write_adapter(shape.path, c, {{"feed_forward.w2", {32, 40}}}, 4, 8, 1);
  expect_error(shape.path, "expected [4, 48]");
  test::TempDir config;
  write_adapter(config.path, c, {{"feed_forward.w2", {32, 48}}}, 4, 8, 1);
  for (const char* extra : {"\"use_dora\":true", "\"bias\":\"all\"", "\"r\":0", "\"peft_type\":\"IA3\"",
                            "\"modules_to_save\":[\"output\"]", "\"fan_in_fan_out\":true"}) {
    const bool rank = std::string(extra).starts_with("\"r\"");
    write_file(config.path + "/adapter_config.json", cat("{\"lora_alpha\":8,", extra, rank ? "}" : ",\"r\":4}"));
    expect_error(config.path, std::string(extra).substr(1, 4).substr(0, rank ? 1 : 4));
  }
}

}  // namespace
}  // namespace puyu
