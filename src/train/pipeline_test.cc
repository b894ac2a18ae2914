// One step on a mesh with pipeline ranks against the same step on one rank: gradients, losses and norms.
#include "train/pipeline.h"

#include <sstream>

#include "train/mesh_step_test_util.h"
#include "train/plan.h"

namespace puyu {
namespace {
using namespace test;

struct Layout {
  Mesh mesh;
  const char* schedule;
  int64_t chunks = 1;
  const char* mode = "mtp";
  int level = 0;
};
std::string to_string(const Layout& l) {
  return cat(l.mesh.data, " x ", l.mesh.tensor, l.mesh.tensor > 1 ? cat(" ", l.mode) : "",
             l.mesh.context > 1 ? cat(" x ", l.mesh.context, " context") : "", " x ", l.mesh.pipeline, " ", l.schedule,
             l.chunks > 1 ? cat(" of ", l.chunks) : "", ", ZeRO ", l.level);
}

// In f32 sums in another order (of data and tensor ranks, of the two uses of a tied table); in bf16 tensor ranks round
// what they add.
constexpr Apart kBoundF32{2e-7, 1e-6, 1e-6}, kBoundBF16{2e-3, 1e-2, 1e-2};

struct Row {
  const char* name;
  Case k;
};
constexpr int64_t kLayers = 9;  // over two, three, four and eight pieces: not evenly
const std::vector<Row> kRows = {
    {"f32, one micro-batch", {DType::kF32, false, Recompute::kNone, 150, 200, false, kLayers}},
    {"f32, many micro-batches", {DType::kF32, false, Recompute::kNone, 200, 24, false, kLayers}},
    {"f32, tied, full recompute", {DType::kF32, true, Recompute::kFull, 150, 48, false, kLayers}},
    {"f32, biases, selective", {DType::kF32, false, Recompute::kSelective, 150, 48, true, kLayers}},
    {"f32, ranks without tokens", {DType::kF32, true, Recompute::kNone, 40, 24, false, kLayers}},
    {"bf16, full recompute", {DType::kBF16, false, Recompute::kFull, 150, 48, false, kLayers}},
};

LmSums accumulate(Pipeline& p, const StepShare& share, bool train) {
  LmSums sums;
  auto found = [&](const Pipeline::Found& f) {
    sums.logp += f.sums.logp, sums.tokens += f.sums.tokens, sums.correct += f.sums.correct;
    double logp = 0;
    for (size_t t = 0; t < f.each.logp.size(); ++t)
      logp += f.micro.target[t] >= 0 ? static_cast<double>(f.each.logp[t]) : 0;
    EXPECT_EQ(logp, f.sums.logp);
  };
  if (train)
    p.accumulate(share, found);
  else
    p.score(share, found);
  return sums;
}

class PipelineChild : public FolderTest {
 protected:
  Apart check(const Case& k, const std::shared_ptr<const Ranks>& ranks, const Layout& layout, const std::string& data) {
    Comm &world = ranks->world(), &group = ranks->data();
    const auto alone = self_comm();
    Learner one = make_learner(k, *alone, 0), many = make_learner(k, ranks, layout.level);
    Pipeline pipeline(many, parse_schedule(layout.schedule));
    Loader a({{"s", data, 1, -1}}, 1, 64), b({{"s", data, 1, -1}}, 1, 64);
    Apart worst;
    for (int step = 0; step < 2; ++step) {
      const StepShare all = a.next_share(k.batch_tokens, 24, k.micro_tokens, 0, 1);
      const StepShare share = b.next_share(k.batch_tokens, 24, k.micro_tokens, group.rank(), group.size());
      const double want_score = score(one, all, *alone);
      double got_score[] = {accumulate(pipeline, share, false).logp};
      sum_over_ranks(world, got_score);
      const LmSums want = test::accumulate(one, all), mine = accumulate(pipeline, share, true);
      double got[] = {mine.logp, static_cast<double>(mine.tokens), static_cast<double>(mine.correct)};
      sum_over_ranks(world, got);
      EXPECT_EQ(got[1], want.tokens);
      if (k.dtype == DType::kF32) { EXPECT_EQ(got[2], want.correct); }
      const double norm = many.measure().grad_norm, want_norm = one.measure().grad_norm;
      EXPECT_EQ(many.measure().grad_norm, norm) << "asked twice";
      const std::vector<float> g = owned(many, Zero::Set::kGradient),
                               w = same_elements(one, many, Zero::Set::kGradient);
      EXPECT_EQ(g.size(), w.size());
      double elements[] = {static_cast<double>(g.size())};
      sum_over_ranks(world, elements);
      EXPECT_EQ(elements[0], one.weights().config.num_params()) << "each parameter on one rank";
      worst.loss = std::max({worst.loss, relative(got[0], want.logp), relative(got_score[0], want_score)});
      worst.norm = std::max(worst.norm, relative(norm, want_norm));
      for (size_t i = 0; i < g.size(); ++i)
        worst.gradient = std::max(worst.gradient, std::abs(g[i] - w[i]) / want_norm);
      // An update, so that the second step begins with weights that were sent on, on both ends of a tied table.
      one.apply(1e-3), many.apply(1e-3);
      if (step == 0 && k.dtype == DType::kF32) expect_near_weights(one, many);
    }
    return worst;
  }

  // Adam's first step divides a gradient by itself: where that is next to nothing the sign may differ.
  void expect_near_weights(Learner& one, Learner& many) {
    const std::vector<float> g = owned(many, Zero::Set::kMaster), w = same_elements(one, many, Zero::Set::kMaster);
    size_t far = 0;
    for (size_t i = 0; i < g.size(); ++i) far += std::abs(g[i] - w[i]) > 1e-5F;
    EXPECT_LE(far, g.size() / 100);
  }
};

std::vector<Layout> layouts(int64_t ranks) {
  std::vector<Layout> out;
  out.push_back({{1, 1, ranks}, "1f1b", 1, "mtp", 0});
  out.push_back({{1, 1, ranks}, "zb-h1", 1, "mtp", 1});
  if (2 * ranks <= kLayers) out.push_back({{1, 1, ranks}, "interleaved", 2, "mtp", 0});
  if (ranks == 2) out.push_back({{1, 1, 2}, "interleaved", 4, "mtp", 3});
  if (ranks == 3) out.push_back({{1, 1, 3}, "interleaved", 3, "mtp", 2});
  if (ranks % 4 != 0) return out;
  const int64_t pairs = ranks / 4;  // 1, or 2 on eight ranks
  out.push_back({{2, 1, 2 * pairs}, "1f1b", 1, "mtp", 3});
  out.push_back({{2, 1, 2 * pairs}, "interleaved", 2, "mtp", 2});
  out.push_back({{2, 1, 2 * pairs}, "zb-h1", 1, "mtp", 1});
  out.push_back({{2, 1, 2 * pairs}, "zb-h1", 1, "mtp", 3});
  out.push_back({{1, 2, 2 * pairs}, "1f1b", 1, "mtp", 0});
  out.push_back({{1, 2, 2 * pairs}, "interleaved", 2, "fsp", 2});
  out.push_back({{1, 2, 2 * pairs}, "zb-h1", 1, "msp", 1});
  out.push_back({{1, 2, 2 * pairs}, "zb-h1", 1, "isp", 3});
  out.push_back({{1, 1, 2 * pairs, 2}, "interleaved", 2, "mtp", 1});
  if (ranks != 8) return out;
  out.push_back({{2, 2, 2}, "zb-h1", 1, "fsp", 3});
  out.push_back({{2, 2, 2}, "interleaved", 4, "msp", 1});
  out.push_back({{2, 2, 2}, "1f1b", 1, "mtp", 2});
  out.push_back({{1, 2, 2, 2}, "1f1b", 1, "isp", 3});
  out.push_back({{1, 2, 2, 2}, "zb-h1", 1, "msp", 0});
  out.push_back({{2, 1, 2, 2}, "interleaved", 4, "mtp", 2});
  return out;
}

TEST_F(PipelineChild, Steps) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const bool speaks = world.rank() == 0;
  if (speaks) std::printf("| data x tensor x pipeline | case | loss | gradient | norm |\n|---|---|---|---|---|\n");
  size_t number = 0;
  for (const Layout& l : layouts(world.size())) {
    const auto ranks = std::make_shared<const Ranks>(world, l.mesh, parse_tensor_mode(l.mode), l.chunks);
    ++number;
    for (size_t i = 0; i < kRows.size(); ++i) {
      const Row& r = kRows[i];
      if (i % 3 != number % 3) continue;  // each case under several layouts, each layout with several cases
      Apart apart = check(r.k, ranks, l, std::string(at) + "/s");
      for (const std::string& s : gather_strings(world, cat(apart.gradient)))
        apart.gradient = std::max(apart.gradient, std::stod(s));
      const std::string what = cat(to_string(l), ", ", r.name);
      const Apart& bound = r.k.dtype == DType::kF32 ? kBoundF32 : kBoundBF16;
      EXPECT_LE(apart.loss, bound.loss) << what;
      EXPECT_LE(apart.gradient, bound.gradient) << what;
      EXPECT_LE(apart.norm, bound.norm) << what;
      if (speaks)
        std::printf("| %s | %s | %.1e | %.1e | %.1e |\n", to_string(l).c_str(), r.name, apart.loss, apart.gradient,
                    apart.norm);
    }
  }
}

// A rank's weights are its blocks of what one rank begins with, and nothing of the others'.
TEST_F(PipelineChild, Weights) {
  if (!std::getenv("PUYU_RANKS_CHILD")) GTEST_SKIP() << "one rank of the tests below";
  Comm& world = world_of_test();
  const auto alone = self_comm();
  for (bool tied : {false, true})
    for (int level = 0; level <= 3; ++level)
      for (const Layout& l : layouts(world.size())) {
        const Case k{DType::kF32, tied, Recompute::kNone, 150, 200, true, kLayers};
        Learner one = make_learner(k, *alone, 0);
        const auto ranks = std::make_shared<const Ranks>(world, l.mesh, parse_tensor_mode(l.mode), l.chunks);
        Learner many = make_learner(k, ranks, level);
        const std::vector<float> mine = owned(many, Zero::Set::kMaster);
        EXPECT_EQ(mine, same_elements(one, many, Zero::Set::kMaster));
        int64_t bytes = 0;
        for (const auto& [name, n] : many.memory()) bytes += name == "gradients" ? n : 0;
        int64_t blocks = ranks->depth().blocks_of_rank(kLayers, ranks->stages().rank());
        EXPECT_LT(static_cast<double>(bytes) / 4,
                  static_cast<double>(one.weights().config.num_params()) / kLayers * static_cast<double>(blocks + 2));
      }
}

class PipelineRanks : public FolderTest, public ::testing::WithParamInterface<int> {
 protected:
  void run_tests(const char* filter) {
    if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
    write_shard(dir + "/s", make_documents(50, 40, 3));
    const Ran r = run_on_ranks(GetParam(), filter, dir);
    EXPECT_EQ(r.code, 0) << r.output;
    EXPECT_NE(r.output.find("PASSED"), std::string::npos) << r.output;
    std::istringstream lines(r.output);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("| ")) std::printf("%s\n", line.c_str());
  }
};
TEST_P(PipelineRanks, AStepIsThatOfOneRank) { run_tests("PipelineChild.Steps"); }
TEST_P(PipelineRanks, WeightsAreThoseOfTheRanksBlocks) { run_tests("PipelineChild.Weights"); }
INSTANTIATE_TEST_SUITE_P(Ranks, PipelineRanks, ::testing::Values(2, 3, 4),
                         [](const auto& i) { return std::to_string(i.param) + "Ranks"; });
class SlowPipelineRanks : public PipelineRanks {};
TEST_P(SlowPipelineRanks, AStepIsThatOfOneRank) { run_tests("PipelineChild.*"); }
INSTANTIATE_TEST_SUITE_P(Ranks, SlowPipelineRanks, ::testing::Values(8),
                         [](const auto& i) { return std::to_string(i.param) + "Ranks"; });

}  // namespace
}  // namespace puyu
