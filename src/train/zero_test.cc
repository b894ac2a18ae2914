// One step on several ranks against the same step on one: gradients, losses and norms; and the ZeRO levels against each
// other, bit for bit.
#include "train/zero.h"

#include <cmath>

#include "comm/mpirun_test_util.h"
#include "train/step_test_util.h"

namespace puyu {
namespace {
using namespace test;

class ZeroChild : public FolderTest {
 protected:
  // One step's gradients on all ranks are those of one rank: in f32 to 2e-6 of the largest gradient of the model, in
  // bf16, where activations are the same and only f32 sums differ, likewise.
  void check_gradients(const Case& k, int level, Comm& world, const std::string& data) {
    const auto alone = self_comm();
    Learner one = make_learner(k, *alone, 0), many = make_learner(k, world, level);
    Loader loader({{"s", data, 1, -1}}, 1, 64), same({{"s", data, 1, -1}}, 1, 64);
    for (int step = 0; step < 2; ++step) {
      const StepShare all = loader.next_share(k.batch_tokens, 24, k.micro_tokens, 0, 1);
      const StepShare share = same.next_share(k.batch_tokens, 24, k.micro_tokens, world.rank(), world.size());
      const double want_score = score(one, all, *alone);
      EXPECT_NEAR(score(many, share, world), want_score, 1e-9 * std::abs(want_score));
      const LmSums want = accumulate(one, all), mine = accumulate(many, share);
      double got[] = {mine.logp, static_cast<double>(mine.tokens), static_cast<double>(mine.correct)};
      sum_over_ranks(world, got);
      EXPECT_NEAR(got[0], want.logp, 1e-9 * std::abs(want.logp));  // each token's log-prob is the same bits
      EXPECT_EQ(got[1], want.tokens);
      EXPECT_EQ(got[2], want.correct);
      const double norm = std::sqrt(many.state().squared_norms().all),
                   want_norm = std::sqrt(one.state().squared_norms().all);
      EXPECT_NEAR(norm, want_norm, 1e-6 * want_norm);
      const std::vector<float> g = owned(many, Zero::Set::kGradient),
                               w = same_elements(one, many, Zero::Set::kGradient);
      ASSERT_EQ(g.size(), w.size());
      for (size_t i = 0; i < g.size(); ++i) ASSERT_NEAR(g[i], w[i], 2e-6 * want_norm) << "level " << level;
      one.state().zero_gradients(), many.state().zero_gradients();
    }
  }

  // Weights, moments and norms after some steps.
  std::vector<std::vector<float>> after_steps(const Case& k, int level, Comm& world, const std::string& data) {
    Learner l = make_learner(k, world, level);
    Loader loader({{"s", data, 1, -1}}, 1, 64);
    std::vector<float> norms;
    for (int step = 0; step < 4; ++step) {
      accumulate(l, loader.next_share(k.batch_tokens, 24, k.micro_tokens, world.rank(), world.size()));
      norms.push_back(static_cast<float>(l.apply(1e-2).grad_norm));
    }
    std::vector<std::vector<float>> out{norms};
    for (Zero::Set set : {Zero::Set::kMaster, Zero::Set::kMoment1, Zero::Set::kMoment2}) out.push_back(owned(l, set));
    return out;
  }
};

TEST_F(ZeroChild, Steps) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const std::string data = std::string(at) + "/s";
  const std::vector<Case> cases = {{},
                                   {DType::kF32, true, Recompute::kFull},
                                   {DType::kBF16, false, Recompute::kSelective},
                                   {DType::kBF16, true},
                                   {DType::kF32, false, Recompute::kNone, 333, 24},  // several rounds
                                   {DType::kBF16, true, Recompute::kNone, 333, 24},  //
                                   {DType::kF32, true, Recompute::kNone, 30, 24}};   // ranks without a sequence
  for (const Case& k : cases) {
    for (int level = 0; level <= 3; ++level) check_gradients(k, level, world, data);
    const auto zero0 = after_steps(k, 0, world, data);
    EXPECT_EQ(after_steps(k, 1, world, data), zero0);
    const auto zero2 = after_steps(k, 2, world, data);
    EXPECT_EQ(after_steps(k, 3, world, data), zero2);
    if (k.micro_tokens >= k.batch_tokens) { EXPECT_EQ(zero2, zero0); }
    for (float v : zero0[0]) EXPECT_GT(v, 0);
  }
}

class ZeroRanks : public FolderTest, public ::testing::WithParamInterface<int> {};
TEST_P(ZeroRanks, GradientsAreThoseOfOneRankAndLevelsAgreeBitForBit) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  write_shard(dir + "/s", make_documents(50, 40, 3));
  const Ran r = run_on_ranks(GetParam(), "ZeroChild.Steps", dir);
  EXPECT_EQ(r.code, 0) << r.output;
  EXPECT_NE(r.output.find("PASSED"), std::string::npos) << r.output;
}
INSTANTIATE_TEST_SUITE_P(Ranks, ZeroRanks, ::testing::Values(2, 3, 4),
                         [](const auto& i) { return std::to_string(i.param) + "Ranks"; });

// On one rank every level is the plain learner.
TEST_F(ZeroChild, OneRankIsTheSameAtEveryLevel) {
  const auto alone = self_comm();
  write_shard(dir + "/s", make_documents(50, 40, 3));
  for (DType dtype : {DType::kF32, DType::kBF16})
    for (bool tied : {false, true}) {
      const Case k{dtype, tied};
      const auto zero0 = after_steps(k, 0, *alone, dir + "/s");
      for (int level = 1; level <= 3; ++level) EXPECT_EQ(after_steps(k, level, *alone, dir + "/s"), zero0) << level;
    }
}

// A rank holds a quarter, and in level 3 a few parts' worth of what it uses.
TEST_F(ZeroChild, LevelsHoldLess) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  ModelConfig c = tiny_model();
  c.num_layers = 24, c.hidden_size = 64, c.intermediate_size = 192, c.head_dim = 16;
  auto held = [&](int level) {
    Zero z(c, Head::kLanguage, DType::kBF16, world, level);
    z.fill([](const FlatTensor&, size_t, Tensor) {});
    for (int i = 0; i < 2; ++i) z.begin_round(i == 1), walk_parts(z, c, true);
    z.squared_norms().all;
    z.update({1e-3f, 0.9f, 0.95f, 1e-8f, 0, 1, 1});
    walk_parts(z, c, false);
    std::map<std::string, double> out;
    for (const auto& [name, n] : z.memory()) out[name] = static_cast<double>(n) / static_cast<double>(c.num_params());
    return out;
  };
  auto near = [](double a, double b) { EXPECT_NEAR(a, b, 0.12 * b); };
  auto z0 = held(0), z1 = held(1), z2 = held(2), z3 = held(3);
  near(z0["weights"], 4), near(z0["weights bf16"], 2), near(z0["gradients"], 4), near(z0["adam m"], 4);
  near(z1["weights"], 1), near(z1["weights bf16"], 2), near(z1["gradients"], 4), near(z1["adam v"], 1);
  near(z2["weights"], 1), near(z2["weights bf16"], 2), near(z2["gradients"], 1), near(z2["adam m"], 1);
  near(z3["weights"], 1), near(z3["gradients"], 1), near(z3["adam v"], 1);
  EXPECT_EQ(z3.count("weights bf16"), 0u);
  EXPECT_LT(z3["gathered weights"], 2 * 5.0 / 24);  // two blocks and the ends
  EXPECT_LT(z3["gradients on their way"], 4 * 5.0 / 24);
}
class ZeroMemory : public FolderTest {};
TEST_F(ZeroMemory, ShrinksWithTheLevel) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  const Ran r = run_on_ranks(4, "ZeroChild.LevelsHoldLess", dir);
  EXPECT_EQ(r.code, 0) << r.output;
}

}  // namespace
}  // namespace puyu
