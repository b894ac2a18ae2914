// One step on a mesh of data and tensor ranks against the same step on one rank: gradients, losses and norms.
#include "train/tensor_parallel.h"

#include <sstream>

#include "train/mesh_step_test_util.h"

namespace puyu {
namespace {
using namespace test;

constexpr const char* kModes[] = {"mtp", "msp", "fsp"};

// In f32 sums over heads, columns and ranks in another order; in bf16 every partial sum of a block is rounded before it
// is added, where one rank rounds once.
constexpr Apart kBoundF32{2e-7, 1e-6, 1e-6}, kBoundBF16{2e-3, 1e-2, 1e-2};

class TensorChild : public MeshChild {};

struct Row {
  const char* name;
  Case k;
  bool mask_first = false;
};
const std::vector<Row> kRows = {
    {"f32", {}},
    {"f32, tied, full recompute", {DType::kF32, true, Recompute::kFull}},
    {"f32, biases, selective", {DType::kF32, false, Recompute::kSelective, 150, 200, true}},
    {"f32, several rounds", {DType::kF32, false, Recompute::kNone, 333, 24}},
    {"f32, ranks without tokens", {DType::kF32, true, Recompute::kNone, 30, 24}},
    {"f32, a data rank masked", {DType::kF32, false, Recompute::kSelective, 150, 200, true}, true},
    {"bf16", {DType::kBF16, false, Recompute::kFull}},
};

TEST_F(TensorChild, Steps) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const bool speaks = world.rank() == 0;
  if (speaks) std::printf("| ranks | case | mode, ZeRO | loss | gradient | norm |\n|---|---|---|---|---|---|\n");
  for (int64_t tensor : {2, 4}) {
    if (world.size() % tensor != 0) continue;
    const Mesh mesh{world.size() / tensor, tensor, 1};
    for (int mode = 0; mode < 3; ++mode) {
      const auto ranks = std::make_shared<const Ranks>(world, mesh, parse_tensor_mode(kModes[mode]));
      for (size_t i = 0; i < kRows.size(); ++i) {
        const Row& r = kRows[i];
        const int level = static_cast<int>(i + static_cast<size_t>(mode)) % 4;
        Apart apart = check(r.k, ranks, level, std::string(at) + "/s", r.mask_first);
        const auto all = gather_strings(world, cat(apart.gradient));
        for (const std::string& s : all) apart.gradient = std::max(apart.gradient, std::stod(s));
        const Apart& bound = r.k.dtype == DType::kF32 ? kBoundF32 : kBoundBF16;
        EXPECT_LE(apart.loss, bound.loss) << r.name << kModes[mode];
        EXPECT_LE(apart.gradient, bound.gradient) << r.name << kModes[mode];
        EXPECT_LE(apart.norm, bound.norm) << r.name << kModes[mode];
        if (speaks)
          std::printf("| %ld x %ld | %s | %s, %d | %.1e | %.1e | %.1e |\n", long(mesh.data), long(tensor), r.name,
                      kModes[mode], level, apart.loss, apart.gradient, apart.norm);
      }
    }
  }
}

// A rank's weights are its share of what one rank begins with, whatever the layout.
TEST_F(TensorChild, Weights) {
  if (!std::getenv("PUYU_RANKS_CHILD")) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const auto alone = self_comm();
  const Case k{DType::kF32, false, Recompute::kNone, 150, 200, true};
  Learner one = make_learner(k, *alone, 0);
  for (int64_t tensor : {2, 4})
    for (int level = 0; level <= 3; ++level) {
      const Mesh mesh{world.size() / tensor, tensor, 1};
      Learner many = make_learner(k, std::make_shared<const Ranks>(world, mesh, TensorMode::kMtp), level);
      const std::vector<float> mine = owned(many, Zero::Set::kMaster);
      EXPECT_EQ(mine, same_elements(one, many, Zero::Set::kMaster));
      EXPECT_LT(static_cast<double>(mine.size()),
                1.7 * static_cast<double>(one.weights().config.num_params()) / world.size());
    }
}

class TensorRanks : public FolderTest, public ::testing::WithParamInterface<int> {};
TEST_P(TensorRanks, AStepIsThatOfOneRank) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  write_shard(dir + "/s", make_documents(50, 40, 3));
  const Ran r = run_on_ranks(GetParam(), "TensorChild.Steps", dir);
  EXPECT_EQ(r.code, 0) << r.output;
  EXPECT_NE(r.output.find("PASSED"), std::string::npos) << r.output;
  std::istringstream lines(r.output);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("| ")) std::printf("%s\n", line.c_str());
}
INSTANTIATE_TEST_SUITE_P(Ranks, TensorRanks, ::testing::Values(2, 4),
                         [](const auto& i) { return std::to_string(i.param) + "Ranks"; });
class SlowTensorRanks : public TensorRanks {};
TEST_P(SlowTensorRanks, AStepIsThatOfOneRank) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  write_shard(dir + "/s", make_documents(50, 40, 3));
  const Ran r = run_on_ranks(GetParam(), "TensorChild.*", dir);
  EXPECT_EQ(r.code, 0) << r.output;
}
INSTANTIATE_TEST_SUITE_P(Ranks, SlowTensorRanks, ::testing::Values(8),
                         [](const auto& i) { return std::to_string(i.param) + "Ranks"; });
class TensorWeights : public FolderTest {};
TEST_F(TensorWeights, AreSharesOfWhatOneRankBeginsWith) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  const Ran r = run_on_ranks(4, "TensorChild.Weights", dir);
  EXPECT_EQ(r.code, 0) << r.output;
}

}  // namespace
}  // namespace puyu
