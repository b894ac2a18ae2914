// One step on meshes of isp, context, data and tensor ranks against the same step on one rank.
#include "train/sequence_parallel.h"

#include <sstream>

#include "train/mesh_step_test_util.h"

namespace puyu {
namespace {
using namespace test;

// As for tensor ranks; in bf16 what a ring adds up stays f32, and isp changes no product.
constexpr Apart kBoundF32{2e-7, 1e-6, 1e-6}, kBoundBF16{2e-3, 1e-2, 1e-2};

struct Layout {
  const char* mode;
  Mesh mesh;  // data, tensor, pipeline, context
};
const std::vector<Layout> kLayouts = {
    {"isp", {1, 2, 1, 1}}, {"mtp", {1, 1, 1, 2}}, {"mtp", {1, 1, 1, 3}}, {"isp", {1, 4, 1, 1}}, {"mtp", {1, 1, 1, 4}},
    {"isp", {1, 2, 1, 2}}, {"isp", {2, 2, 1, 1}}, {"mtp", {2, 1, 1, 2}}, {"mtp", {1, 2, 1, 2}}, {"msp", {1, 2, 1, 2}},
    {"fsp", {1, 2, 1, 2}}, {"isp", {1, 2, 1, 3}}, {"msp", {3, 1, 1, 2}}, {"isp", {1, 4, 1, 2}}, {"isp", {2, 2, 1, 2}},
    {"isp", {1, 2, 1, 4}}, {"msp", {2, 2, 1, 2}}, {"mtp", {1, 1, 1, 8}},
};

struct Row {
  const char* name;
  Case k;
  const char* data = "/s";
  bool masked = false;
};
const std::vector<Row> kRows = {
    {"f32", {}},
    {"f32, tied, full recompute", {DType::kF32, true, Recompute::kFull}},
    {"f32, biases, selective", {DType::kF32, false, Recompute::kSelective, 150, 200, true}},
    {"f32, several rounds", {DType::kF32, false, Recompute::kNone, 333, 24}},
    {"f32, few tokens", {DType::kF32, true, Recompute::kNone, 7, 24}},
    {"f32, long sequences", {DType::kF32, false, Recompute::kNone, 250, 250, false, 2, 120}, "/long"},
    {"f32, a rank masked", {DType::kF32, false, Recompute::kNone, 150, 200}, "/s", true},
    {"bf16", {DType::kBF16, false, Recompute::kFull}},
    {"bf16, long sequences", {DType::kBF16, false, Recompute::kNone, 250, 250, false, 2, 120}, "/long"},
};

class SequenceChild : public MeshChild {
 protected:
  // Every so many cases of each layout, another one first in each.
  void steps(size_t every);
};

void SequenceChild::steps(size_t every) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const bool speaks = world.rank() == 0;
  if (speaks)
    std::printf("| data x context x tensor | case | ZeRO | loss | gradient | norm |\n|---|---|---|---|---|---|\n");
  for (size_t l = 0; l < kLayouts.size(); ++l) {
    const Layout& layout = kLayouts[l];
    const Mesh& m = layout.mesh;
    if (m.ranks() != world.size()) continue;
    const auto ranks = std::make_shared<const Ranks>(world, m, parse_tensor_mode(layout.mode));
    for (size_t i = l % every; i < kRows.size(); i += every) {
      const Row& r = kRows[i];
      const int level = static_cast<int>(i + l) % 4;
      const std::string name = cat(m.data, " x ", m.context, " x ", m.tensor, " ", m.tensor > 1 ? layout.mode : "");
      Apart apart = check(r.k, ranks, level, at + std::string(r.data), r.masked);
      for (const std::string& s : gather_strings(world, cat(apart.gradient)))
        apart.gradient = std::max(apart.gradient, std::stod(s));
      const Apart& bound = r.k.dtype == DType::kF32 ? kBoundF32 : kBoundBF16;
      EXPECT_LE(apart.loss, bound.loss) << r.name << " " << name;
      EXPECT_LE(apart.gradient, bound.gradient) << r.name << " " << name;
      EXPECT_LE(apart.norm, bound.norm) << r.name << " " << name;
      if (speaks)
        std::printf("| %s | %s | %d | %.1e | %.1e | %.1e |\n", name.c_str(), r.name, level, apart.loss, apart.gradient,
                    apart.norm);
    }
  }
}

TEST_F(SequenceChild, Steps) { steps(1); }
TEST_F(SequenceChild, EveryThird) { steps(3); }

// Every rank gets the log-prob of every token, in its place, whichever rank had the row.
TEST_F(SequenceChild, LogProbs) {
  if (!std::getenv("PUYU_RANKS_CHILD")) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const auto alone = self_comm();
  Batch b;
  std::vector<int32_t> ids, target;
  for (int32_t i = 0; i < 101; ++i) ids.push_back(i * 7 % 40), target.push_back(i % 9 == 4 ? -1 : i * 3 % 40);
  b.add(ids.data(), 60), b.add(ids.data() + 60, 1), b.add(ids.data() + 61, 40);
  Learner one = make_learner({}, *alone, 0);
  std::vector<float> want(101), got(101);
  const LmSums sums = one.logprobs(b, target, want);
  for (const Mesh& m : {Mesh{1, 1, 1, 4}, Mesh{1, 4, 1, 1}, Mesh{1, 2, 1, 2}}) {
    Learner many = make_learner({}, std::make_shared<const Ranks>(world, m, TensorMode::kIsp), 3);
    const LmSums mine = many.logprobs(b, target, got);
    for (size_t t = 0; t < want.size(); ++t) EXPECT_NEAR(got[t], want[t], 1e-5) << t;
    EXPECT_EQ(mine.tokens, world.rank() == 0 ? sums.tokens : 0) << "counted once";
  }
}

class SequenceRanks : public FolderTest, public ::testing::WithParamInterface<int> {
 protected:
  void run(int ranks, const char* what) {
    if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
    write_shard(dir + "/s", make_documents(50, 40, 3));
    write_shard(dir + "/long", make_documents(20, 120, 4));
    const Ran r = run_on_ranks(ranks, what, dir);
    EXPECT_EQ(r.code, 0) << r.output;
    EXPECT_NE(r.output.find("PASSED"), std::string::npos) << r.output;
    std::istringstream lines(r.output);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("| ")) std::printf("%s\n", line.c_str());
  }
};
const auto kName = [](const auto& i) { return std::to_string(i.param) + "Ranks"; };
TEST_P(SequenceRanks, AStepIsThatOfOneRank) {
  run(GetParam(), GetParam() < 4 ? "SequenceChild.Steps" : "SequenceChild.EveryThird");
}
INSTANTIATE_TEST_SUITE_P(Ranks, SequenceRanks, ::testing::Values(2, 3, 4), kName);
class SlowSequenceRanks : public SequenceRanks {};
TEST_P(SlowSequenceRanks, AStepIsThatOfOneRank) { run(GetParam(), "SequenceChild.Steps"); }
INSTANTIATE_TEST_SUITE_P(Ranks, SlowSequenceRanks, ::testing::Values(4, 6, 8), kName);
class SequenceLogProbs : public SequenceRanks {};
TEST_P(SequenceLogProbs, AreThoseOfOneRankOnEveryRank) { run(GetParam(), "SequenceChild.LogProbs"); }
INSTANTIATE_TEST_SUITE_P(Ranks, SequenceLogProbs, ::testing::Values(4), kName);

}  // namespace
}  // namespace puyu
