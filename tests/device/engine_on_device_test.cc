// The engine with device = cuda, on the emulated GPU: what it answers is what it answers on the CPU, its promises hold,
// and it never touches the GPU's memory from the host (that would be a SIGSEGV here).
#include <gtest/gtest.h>

#include <cmath>

#include "base/temp_dir_test_util.h"
#include "engine/engine_test_util.h"
#include "model/lora_test_util.h"
#include "tensor/device.h"

namespace puyu {
namespace {

EngineOptions on(const std::string& device) {
  EngineOptions o;
  o.device = device;
  return o;
}
void expect_near(const std::vector<float>& a, const std::vector<float>& b, double bound, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], bound) << what << ", place " << i;
}
std::vector<float> scores(Engine& engine, const std::vector<int32_t>& ids, int adapter = -1) {
  std::vector<float> out;
  engine.score({ids}, [&](size_t, const Engine::Score& s) { out = s.logp; }, adapter);
  return out;
}

TEST(Device, TheHostCannotTouchItsMemory) {
  Arena gpu("gpu", 1 << 20, Device::kCuda), host("host", 1 << 20);
  Tensor there = gpu.alloc(DType::kF32, {4}), here = host.alloc(DType::kF32, {4});
  here.as<float>()[2] = 5;
  copy_tensor(there, here);
  EXPECT_EQ(place_in(host, there).as<float>()[2], 5.0f);
  EXPECT_DEATH(std::fputc(static_cast<int>(there.as<float>()[2]), stderr), "");
}

TEST(Device, ArenasGrowByBlocksAndGiveBack) {
  Arena gpu("gpu", int64_t{1} << 30, Device::kCuda);
  const Tensor small = gpu.alloc(DType::kU8, {1000});
  const int64_t mark = gpu.mark();
  const Tensor large = gpu.alloc(DType::kU8, {300 << 20});  // more than is left of the first block
  const Tensor third = gpu.alloc(DType::kU8, {1000});
  EXPECT_NE(small.data, large.data);
  gpu.release(mark);
  EXPECT_EQ(gpu.alloc(DType::kU8, {300 << 20}).data, large.data);
  EXPECT_EQ(gpu.alloc(DType::kU8, {1000}).data, third.data);
  EXPECT_THROW(gpu.alloc(DType::kU8, {int64_t{1} << 30}), std::exception);
}

TEST(EngineOnDevice, AnswersAsOnTheCpu) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine cpu(w), gpu(w, on("cuda"));
  const auto prompts = prompts_of({5, 70, 1});
  const auto want = cpu.generate_tokens(prompts, sampling(10, 0), {}),
             got = gpu.generate_tokens(prompts, sampling(10, 0), {});
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(got[i].tokens, want[i].tokens) << "prompt " << i;
    expect_near(got[i].logp, want[i].logp, 2e-5, cat("prompt ", i));
  }
  expect_near(scores(gpu, prompts[1]), scores(cpu, prompts[1]), 2e-5, "scores");
}

TEST(EngineOnDevice, BatchChunksPrefixesAndPreemptionChangeNothing) {
  Weights w = random_weights(tiny(), DType::kBF16);
  const auto prompts = prompts_of({5, 70, 33});
  EngineOptions few = on("cuda"), crowded = on("cuda"), no_cache = on("cuda");
  few.max_batch = 3, few.max_tokens_per_step = 16;
  crowded.max_batch = 3, crowded.kv_tokens = 2 * kPage + 1, no_cache.prefix_cache = false;
  SamplingOptions o = sampling(12);
  o.repetition_penalty = 1.1;
  Engine roomy(w, on("cuda")), chunked(w, few), tight(w, crowded), alone(w, no_cache);
  const auto want = roomy.generate_tokens(prompts, o, {}), cut = chunked.generate_tokens(prompts, o, {}),
             preempted = tight.generate_tokens(prompts, o, {});
  for (size_t i = 0; i < prompts.size(); ++i) {
    expect_same(cut[i], want[i], "chunks of 16");
    expect_same(preempted[i], want[i], "crowded");
    expect_same(alone.generate_tokens({prompts[i]}, o, {})[0], want[i], "alone");
    expect_same(roomy.generate_tokens({prompts[i]}, o, {})[0], want[i], "from the prefix cache");
  }
  EXPECT_GT(roomy.scheduler().reused_tokens(), 0);
}

TEST(EngineOnDevice, QuantisedAsOnTheCpu) {
  Weights w = random_weights(tiny(), DType::kF32);
  const auto prompt = prompts_of({40})[0];
  for (const std::string scheme : {"w8a8", "w4a16", "w4a8"})
    for (int bits : {0, 8}) {
      EngineOptions a = on("cpu"), b = on("cuda");
      a.weights = b.weights = scheme, a.kv_bits = b.kv_bits = bits;
      Engine cpu(w, a), gpu(w, b);
      // Rounding to int8 turns a last bit's difference into a step of the scale now and then.
      expect_near(scores(gpu, prompt), scores(cpu, prompt), 0.05, cat(scheme, ", cache of ", bits, " bits"));
    }
}

TEST(EngineOnDevice, AdaptersEmbeddingsAndGuesses) {
  const ModelConfig c = tiny();
  test::TempDir dir;
  write_adapter(dir.path, c, {{"feed_forward.w2", {32, 48}}, {"attention.wqkv", {64, 32}}}, 4, 8, 1);
  Weights w = random_weights(c, DType::kF32);
  Engine cpu(w), gpu(w, on("cuda"));
  cpu.add_adapter(dir.path), gpu.add_adapter(dir.path);
  const auto prompt = prompts_of({20})[0];
  expect_near(scores(gpu, prompt, 0), scores(cpu, prompt, 0), 2e-5, "adapter");
  auto embedding = [&](Engine& engine) {
    std::vector<float> out;
    Request r;
    r.prompt = prompt, r.wants = Request::Wants::kEmbedding;
    r.on_values = [&](std::span<const float> v) { out.assign(v.begin(), v.end()); };
    std::vector<Request> list;
    list.push_back(std::move(r));
    engine.run(std::move(list));
    return out;
  };
  expect_near(embedding(gpu), embedding(cpu), 2e-5, "embedding");
  const auto plain = gpu.generate_tokens({prompt}, sampling(8, 0), {})[0];
  gpu.set_drafter(make_model_drafter(random_weights(c, DType::kF32), "cuda"));
  expect_same(gpu.generate_tokens({prompt}, sampling(8, 0), {})[0], plain, "with guesses");
  EXPECT_GT(gpu.accepted_tokens(), 0);
}

}  // namespace
}  // namespace puyu
