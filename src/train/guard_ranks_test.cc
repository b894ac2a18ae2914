// The guard on several ranks: under every layout all of them leave out the same batches, go back together and stop
// together, though only one of them saw the reason.
#include <csignal>

#include "base/config.h"
#include "base/log.h"
#include "base/signal.h"
#include "comm/mpirun_test_util.h"
#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

struct Layout {
  int ranks;
  int64_t tensor, zero;
  const char *mode, *dtype;
};
std::string to_string(const Layout& l) {
  return cat(l.ranks / l.tensor, " x ", l.tensor, " ", l.mode, ", ZeRO ", l.zero, ", ", l.dtype);
}
constexpr Layout kLayouts[] = {{2, 1, 0, "mtp", "f32"},  {2, 1, 1, "mtp", "bf16"}, {2, 1, 2, "mtp", "f32"},
                               {2, 1, 3, "mtp", "bf16"}, {2, 2, 1, "fsp", "bf16"}, {4, 2, 2, "msp", "f32"}};

TrainOptions guarded(TrainOptions o, const Layout& l) {
  o.dtype = l.dtype, o.parallel.zero = l.zero;
  o.parallel.mesh.tensor = l.tensor, o.parallel.tensor_mode = l.mode;
  return o;
}

// One rank; all layouts of so many, one after the other.
class GuardRanksChild : public ::testing::Test {
 protected:
  // The same everywhere, or the test ends.
  static void expect_alike(const std::string& mine, const std::string& what) {
    for (const std::string& other : gather_strings(world_of_test(), mine)) EXPECT_EQ(other, mine) << what;
  }
};
TEST_F(GuardRanksChild, Layouts) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  TrainOptions base;
  load_config(base, read_file(at), at, {});
  Comm& world = world_of_test();
  const std::string dir = std::filesystem::path(at).parent_path();
  for (const Layout& l : kLayouts) {
    if (l.ranks != world.size() || (l.tensor > 1) != (base.parallel.mesh.tensor > 1)) continue;
    const std::string name = to_string(l);
    auto run = [&](const TrainOptions& o, const std::string& what) {
      const TrainReport r = train(o, dir + "/" + what, false, world);
      expect_alike(cat(r.skipped, r.interrupted), name + ", " + what);
      world.barrier();
      return std::pair{r, read_file(dir + "/" + what + "/model/model.safetensors")};
    };
    TrainOptions o = guarded(base, l);
    o.guard.on_outlier = "skip";
    const auto [skipped, model] = run(o, name + " skips");
    std::string list;  // rank 0 has the steps
    for (const StepMetrics& m : skipped.steps)
      if (m.skipped) list += cat(list.empty() ? "" : ",", m.step);
    list = gather_strings(world, list)[0];
    EXPECT_GT(skipped.skipped, 0) << name << ": no outlier in this run";
    o.guard.norm_outlier = 0, o.skip_batches = list;
    EXPECT_TRUE(run(o, name + " is told").second == model) << name << ": skipped " << list;
    o = guarded(base, l);
    o.guard.on_outlier = "rollback", o.guard.max_rollbacks = 100;
    const auto [rolled, same] = run(o, name + " rolls back");
    EXPECT_TRUE(same == model) << name << ": rolled back, skipped " << list;
    if (world.rank() == 0) {
      EXPECT_NE(read_file(dir + "/" + name + " rolls back/metrics.jsonl").find("rollback: back to step "),
                std::string::npos);
      std::printf("| %-28s | left out: %-12s | the same bits |\n", name.c_str(), list.c_str());
    }
  }
}

// Rank 1 alone gets Slurm's warning, rank 0 alone sees the stop file.
TEST_F(GuardRanksChild, Stops) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  TrainOptions o;
  load_config(o, read_file(at), at, {});
  Comm& world = world_of_test();
  const std::string dir = std::filesystem::path(at).parent_path();
  catch_interrupts();
  for (const Layout& l : {Layout{2, 1, 3, "mtp", "f32"}, Layout{2, 2, 1, "msp", "f32"}}) {
    const std::string run = dir + "/stops " + to_string(l);
    o = guarded(o, l);
    o.stop_at = 2;
    expect_alike(cat(train(o, run, false, world).interrupted), "stop_at");
    o.stop_at = 0;
    if (world.rank() == 1) std::raise(SIGUSR1);
    EXPECT_TRUE(train(o, run, true, world).interrupted) << "the signal of one rank";
    clear_interrupt();
    world.barrier();
    EXPECT_EQ(list_checkpoints(run).back().step, 2);
    world.barrier();
    if (world.rank() == 0) write_file(run + "/stop", "5");
    EXPECT_TRUE(train(o, run, true, world).interrupted) << "the stop file";
    world.barrier();
    EXPECT_EQ(list_checkpoints(run).back().step, 5);
    world.barrier();
  }
}

class GuardRanks : public FolderTest {
 protected:
  void SetUp() override {
    if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
    o = tiny_run(dir);
    o.model.num_heads = 8, o.model.num_kv_heads = 4;
    o.parallel.patience = 60;
    o.checkpoint_every = 4, o.keep_checkpoints = 0, o.snapshot_every = 3, o.valid_every = 0;
    o.guard.norm_outlier = 1, o.guard.window = 4, o.guard.slow_rank_every = 5, o.max_skipped = 100;
  }
  void run_child(int ranks, const char* child) {
    write_file(dir + "/options.toml", to_toml(list_fields(o)));
    const Ran r = run_on_ranks(ranks, child, dir + "/options.toml");
    ASSERT_EQ(r.code, 0) << r.output;
    for (size_t at = 0, end; (at = r.output.find("| ", at)) != std::string::npos; at = end) {
      end = r.output.find('\n', at);
      std::printf("%s\n", r.output.substr(at, end - at).c_str());
    }
  }
  TrainOptions o;
};

TEST_F(GuardRanks, DataRanksDecideAlike) { run_child(2, "GuardRanksChild.Layouts"); }

TEST_F(GuardRanks, TensorRanksDecideAlike) {
  o.parallel.mesh.tensor = 2, o.micro_tokens = 128;
  for (int ranks : {2, 4}) run_child(ranks, "GuardRanksChild.Layouts");
}

TEST_F(GuardRanks, OneRankIsEnoughToStopAll) {
  o.checkpoint_every = o.snapshot_every = 0;
  run_child(2, "GuardRanksChild.Stops");
}

}  // namespace
}  // namespace puyu
