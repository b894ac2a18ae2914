// Whole runs on several ranks: the curve of one rank, checkpoints that any layout continues, and kill -9 of any rank.
#include <chrono>
#include <csignal>
#include <fstream>

#include "base/log.h"
#include "base/signal.h"
#include "train/ranks_test_util.h"

namespace puyu {
namespace {
using namespace test;

// The work of one rank; started by the tests below.
class RanksChild : public ::testing::Test {};
TEST_F(RanksChild, Train) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the tests below";
  Order order;
  load_config(order, read_file(at), at, {});
  Comm& world = world_of_test();
  catch_interrupts();
  write_file(cat(order.dir, "/up", world.rank()), "");
  try {
    train(order.options, order.dir + "/" + order.run, order.resume, world);
  } catch (const Error& e) {
    if (world.rank() > 0) ::usleep(500000);
    std::fprintf(stderr, "rank %d: %s\n", world.rank(), e.what());
    world.abort(1);
  }
}

TEST_F(TrainRanks, AnyNumberOfRanksTrainsTheRunOfOne) {
  options.lr = 1e-3, options.batch_tokens = 131;  // 131 tokens do not split evenly
  options.micro_tokens = 40;
  train(options, dir + "/one", false);
  for (int ranks : {2, 3, 4})
    for (int64_t zero : {0, 3}) {
      const std::string name = cat("ranks", ranks, "_zero", zero);
      options.parallel.zero = zero;
      run_well(ranks, name);
      expect_near("one", name);
    }
  options.batch_tokens = 20, options.micro_tokens = 40;  // fewer sequences than ranks
  train(options, dir + "/few", false);
  options.parallel.zero = 2;
  run_well(4, "few_on_four");
  expect_near("few", "few_on_four");
}

TEST_F(TrainRanks, ResumeIsBitwiseAtAnyZeroLevel) {
  for (const char* dtype : {"f32", "bf16"}) {
    options.dtype = dtype, options.micro_tokens = 128;  // a micro-batch a step and rank: all levels are the same bits
    options.stop_at = 0, options.parallel.zero = 1;
    const std::string straight = cat("straight_", dtype), stopped = cat("stopped_", dtype);
    run_well(3, straight);
    const int64_t stops[] = {5, 8, 9, 12, 0};
    for (int i = 0; i < 5; ++i) {
      options.stop_at = stops[i], options.parallel.zero = (i + 3) % 4;
      run_well(3, stopped, i > 0);
    }
    expect_same_bits(straight, stopped, 14);
    EXPECT_TRUE(read_file(dir + "/" + straight + "/model/model.safetensors") ==
                read_file(dir + "/" + stopped + "/model/model.safetensors"));
  }
}

TEST_F(TrainRanks, AnotherNumberOfRanksGoesOn) {
  options.lr = 1e-3;
  train(options, dir + "/one", false);
  options.stop_at = 3, options.parallel.zero = 3;
  run_well(4, "many");
  options.stop_at = 7, options.parallel.zero = 0;
  run_well(2, "many", true);
  options.stop_at = 9;
  train(options, dir + "/many", true);
  options.stop_at = 0, options.parallel.zero = 2;
  run_well(3, "many", true);
  expect_near("one", "many");
  // What several ranks wrote is what one would have: resumed by one and saved again, the same bytes.
  options.stop_at = 14;
  std::filesystem::copy(dir + "/many", dir + "/again", std::filesystem::copy_options::recursive);
  train(options, dir + "/again", true);
  expect_same_bits("many", "again", 14);
}

class TensorTrainRanks : public TrainRanks {
 protected:
  void SetUp() override {
    TrainRanks::SetUp();
    options.model.num_heads = 8, options.model.num_kv_heads = 4, options.lr = 1e-3;
  }
  void layout(int64_t tensor, const char* mode, int64_t zero, int64_t context = 1) {
    options.parallel.mesh.context = context;
    options.parallel.mesh.tensor = tensor, options.parallel.tensor_mode = mode, options.parallel.zero = zero;
  }
};

// Some runs on several ranks.
struct MeshRun {
  int ranks;
  int64_t tensor;
  const char *mode, *recompute;
  int64_t zero, context = 1;
};
// Each line is a test.
const std::vector<MeshRun> kMeshRuns[] = {
    {{2, 2, "mtp", "none", 0}, {4, 2, "msp", "full", 3}},
    {{4, 4, "fsp", "selective", 1}, {4, 2, "fsp", "none", 2}},
    {{2, 2, "isp", "none", 3}, {4, 2, "isp", "full", 1}},
    {{4, 1, "mtp", "selective", 2, 4}, {4, 2, "isp", "none", 0, 2}},
    {{4, 2, "msp", "none", 3, 2}},
};
class AnyMesh : public TensorTrainRanks, public ::testing::WithParamInterface<int> {};
TEST_P(AnyMesh, TrainsTheRunOfOne) {
  options.batch_tokens = 131, options.micro_tokens = 40;  // 131 tokens split over nothing
  train(options, dir + "/one", false);
  for (const MeshRun& r : kMeshRuns[GetParam()]) {
    layout(r.tensor, r.mode, r.zero, r.context);
    options.recompute = r.recompute;
    const std::string name = cat(r.ranks / r.tensor / r.context, " x ", r.context, " x ", r.tensor, " ", r.mode,
                                 ", ZeRO ", r.zero, ", ", r.recompute);
    run_well(r.ranks, name);
    compare(name);
  }
}
INSTANTIATE_TEST_SUITE_P(Runs, AnyMesh, ::testing::Range(0, static_cast<int>(std::size(kMeshRuns))));

TEST_F(TensorTrainRanks, AnotherTensorSizeGoesOn) {
  train(options, dir + "/one", false);
  options.stop_at = 3, layout(2, "mtp", 1);
  run_well(2, "many");
  options.stop_at = 7, layout(4, "msp", 0);
  run_well(4, "many", true);
  options.stop_at = 9, layout(1, "mtp", 1);
  train(options, dir + "/many", true);
  options.stop_at = 11, layout(2, "isp", 3, 2);
  run_well(4, "many", true);
  options.stop_at = 12, layout(1, "isp", 2, 3);
  run_well(3, "many", true);
  options.stop_at = 0, layout(2, "fsp", 3);
  run_well(4, "many", true);
  compare("many");
  layout(1, "mtp", 1), expect_files_of_one("many", 14);
}

TEST_F(TensorTrainRanks, ResumeIsBitwise) {
  for (const char* dtype : {"f32", "bf16"}) {
    options.dtype = dtype, options.stop_at = 0, layout(2, "msp", 2);
    const std::string straight = cat("straight_", dtype), stopped = cat("stopped_", dtype);
    run_well(4, straight);
    options.stop_at = 5;
    run_well(4, stopped);
    options.stop_at = 0;
    run_well(4, stopped, true);
    expect_same_bits(straight, stopped, 14);
  }
}

TEST_F(TensorTrainRanks, WhatCannotBeIsRefused) {
  auto refusal = [&](int ranks) {
    const Ran r = run(ranks, "run");
    EXPECT_NE(r.code, 0);
    EXPECT_FALSE(file_exists(dir + "/run/metrics.jsonl"));
    return r.output;
  };
  auto expect_says = [&](int ranks, const char* what) {
    const std::string said = refusal(ranks);
    EXPECT_NE(said.find(what), std::string::npos) << said;
  };
  layout(3, "mtp", 1);
  expect_says(3, "4 key/value heads cannot be split over 3 tensor ranks; the nearest possible mesh is ");
  layout(4, "mtp", 1);
  options.model.intermediate_size = 26;
  expect_says(4,
              "26 columns of the model's feed-forward cannot be split over 4 tensor ranks; the nearest possible mesh");
  options.model.intermediate_size = 24, options.model.vocab_size = 42;
  expect_says(4,
              "vocabulary of 42 cannot be split over 4 tensor ranks; the nearest possible mesh is 2 data x 2 tensor");
  layout(2, "megatron", 1);
  expect_says(2, "parallel.tensor_mode: expected one of mtp, msp, fsp, isp, got 'megatron'");
  layout(3, "isp", 1);
  expect_says(3, "4 key/value heads cannot be split over 3 tensor ranks; the nearest possible mesh is ");
  layout(1, "isp", 1, 3);
  expect_says(2, "= 3 ranks, but 2 were started; the nearest possible mesh is ");
  layout(1, "mtp", 1);
  options.parallel.mesh.pipeline = 4;
  expect_says(4, "2 blocks cannot be split over 4 pipeline ranks; the nearest possible mesh is ");
  options.parallel.mesh.pipeline = 2, options.parallel.pipeline_schedule = "interleaved";
  expect_says(2, "parallel.pipeline_chunks: expected 2 or more with pipeline_schedule = interleaved, got 1");
  options.parallel.pipeline_chunks = 2;
  expect_says(2, "2 blocks cannot be split over 2 pipeline ranks of 2 chunks; the nearest possible mesh is 2 data x");
  options.parallel.pipeline_schedule = "zb-h1";
  expect_says(2, "parallel.pipeline_chunks: expected 1 with pipeline_schedule = zb-h1, got 2");
  options.parallel.pipeline_schedule = "zbv";
  expect_says(2, "parallel.pipeline_schedule: expected one of 1f1b, interleaved, zb-h1, got 'zbv'");
}

TEST_F(TrainRanks, WhatCannotBeIsRefused) {
  options.parallel.mesh.tensor = 3;
  Ran r = run(2, "run");
  EXPECT_NE(r.output.find("= 3 ranks, but 2 were started; the nearest possible mesh is"), std::string::npos)
      << r.output;
  options.parallel.mesh.tensor = 1, options.parallel.zero = 4;
  r = run(2, "run");
  EXPECT_NE(r.output.find("parallel.zero: expected 0, 1, 2 or 3, got 4"), std::string::npos) << r.output;
  EXPECT_FALSE(file_exists(dir + "/run/metrics.jsonl"));
  options.parallel.zero = 1, options.stop_at = 2;
  run_well(2, "run");
  r = run(2, "run");
  EXPECT_NE(r.output.find("already holds a run"), std::string::npos) << r.output;
  EXPECT_NE(r.code, 0);
}

TEST_F(TrainRanks, TheLogHasMemoryByRank) {
  options.parallel.zero = 3, options.stop_at = 2;
  const Ran r = run(2, "run");
  EXPECT_NE(r.output.find("2 data ranks, ZeRO 3"), std::string::npos) << r.output;
  EXPECT_NE(r.output.find("rank 0     rank 1"), std::string::npos) << r.output;
  for (const char* part : {"weights", "gradients", "adam m", "adam v", "gathered weights", "activations", "total"})
    EXPECT_NE(r.output.find(std::string(part) + "  "), std::string::npos) << part;
  EXPECT_EQ(r.output.find("step 1/", r.output.find("step 1/") + 1), std::string::npos) << "two ranks log:\n"
                                                                                       << r.output;
}

// mpirun as a process whose ranks can be killed.
class Job {
 public:
  Job(int ranks, const std::string& order, const std::string& log) : log_(log) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::vector<std::string> words = mpirun_command(ranks);
    words.insert(words.end(), {self, "--gtest_filter=RanksChild.Train"});
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    setenv("PUYU_RANKS_CHILD", order.c_str(), 1);
    if (!freopen(log.c_str(), "w", stdout) || !freopen(log.c_str(), "a", stderr)) _exit(3);
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(2);
  }
  // Processes of this job by rank; -1: not started.
  std::vector<pid_t> ranks(int n) const {
    std::vector<pid_t> out(static_cast<size_t>(n), -1);
    std::error_code ec;
    for (const auto& task : std::filesystem::directory_iterator(cat("/proc/", pid_, "/task"), ec)) {
      std::ifstream children(task.path() / "children");
      for (pid_t child; children >> child;) {
        std::ifstream in(cat("/proc/", child, "/environ"), std::ios::binary);
        for (std::string v; std::getline(in, v, '\0');)
          if (v.starts_with("OMPI_COMM_WORLD_RANK=")) out.at(std::stoul(v.substr(21))) = child;
      }
    }
    return out;
  }
  // The exit code, or -1 when the job has not ended in time: it is then killed.
  int wait(double seconds) {
    int status = 0;
    for (double t = 0; t < seconds; t += 0.01) {
      if (waitpid(pid_, &status, WNOHANG) == pid_) return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
      ::usleep(10000);
    }
    for (pid_t p : ranks(8))
      if (p > 0) ::kill(p, SIGKILL);
    ::kill(pid_, SIGKILL);
    waitpid(pid_, &status, 0);
    return -1;
  }
  std::string output() const { return read_file(log_); }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
  std::string log_;
};

// A rank that stands still (as on a machine that swaps or lost its disk) ends the job with its name.
TEST_F(TrainRanks, ARankThatHangsIsNamed) {
  options.phases[0].steps = 60, options.phases[1].steps = 100000;
  options.parallel.patience = 3, options.checkpoint_every = 2;
  Job job(2, write_order("run", false), dir + "/log");
  while (list_checkpoints(dir + "/run").empty()) ::usleep(1000);
  ASSERT_EQ(::kill(job.ranks(2).at(1), SIGSTOP), 0);
  const int code = job.wait(60);
  EXPECT_NE(code, 0);
  EXPECT_NE(code, -1) << "the job hangs";
  EXPECT_NE(job.output().find("nothing came from rank 1 for 3 s"), std::string::npos) << job.output();
}

// Slurm's warning, forwarded by mpirun to all ranks.
TEST_F(TrainRanks, SigUsr1SavesAndStopsOnAllRanks) {
  options.phases[0].steps = 60, options.phases[1].steps = 100000;
  options.checkpoint_every = 0, options.snapshot_every = 2;
  Job job(2, write_order("run", false), dir + "/log");
  while (list_checkpoints(dir + "/run").empty()) ::usleep(1000);
  ASSERT_EQ(::kill(job.pid(), SIGUSR1), 0);
  EXPECT_EQ(job.wait(60), 0) << job.output();
  const auto all = list_checkpoints(dir + "/run", SaveKind::kCheckpoint);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_GE(all[0].step, 2);
  EXPECT_NE(job.output().find("stopped: asked to stop; saved at step "), std::string::npos) << job.output();
}

// A random rank of three is killed at a random moment, fifty times, every second time in the middle of a save; each
// time the job ends and names it, and the run goes on, at another ZeRO level. In the end it is the run that nothing
// happened to, bit for bit.
class SlowTrainRanks : public TrainRanks {};
TEST_F(SlowTrainRanks, KillMinusNineOfAnyRankAtAnyMoment) {
  constexpr int kRanks = 3, kKills = 50;
  options.phases[0].steps = 60, options.phases[1].steps = 100000;
  options.micro_tokens = 128, options.checkpoint_every = 2, options.valid_every = 7;
  Rng rng(static_cast<uint64_t>(getpid()));
  int killed = 0, in_a_save = 0;
  double to_first_save = 0;  // seconds from when the ranks have met
  int64_t newest = 0, restarts_that_went_on = 0;
  for (; killed < kKills; ++killed) {
    options.parallel.zero = killed % 4;
    for (int r = 0; r < kRanks; ++r) std::filesystem::remove(cat(dir, "/up", r));
    Job job(kRanks, write_order("run", true), dir + "/log");
    const auto victim = static_cast<size_t>(rng.below(kRanks));
    // From when the ranks have met: before that mpirun is the one who starts them, and does not always name the dead.
    for (int r = 0; r < kRanks; ++r)
      for (int t = 0; !file_exists(cat(dir, "/up", r)); ++t) {
        ASSERT_LT(t, 60000) << job.output();
        ::usleep(1000);
      }
    if (killed == 0) {
      const auto met = std::chrono::steady_clock::now();
      while (list_checkpoints(dir + "/run").empty()) ::usleep(1000);
      to_first_save = std::chrono::duration<double>(std::chrono::steady_clock::now() - met).count();
    }
    ::usleep(static_cast<useconds_t>(1e6 * 4 * to_first_save * rng.uniform()));
    if (killed % 2)
      while (incomplete_checkpoints(dir + "/run", SaveKind::kCheckpoint).empty()) ::usleep(100);
    const pid_t pid = job.ranks(kRanks).at(victim);
    ASSERT_GT(pid, 0) << job.output();
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    const int code = job.wait(60);
    ASSERT_NE(code, -1) << "the job hangs without rank " << victim << ":\n" << job.output();
    EXPECT_NE(code, 0);
    EXPECT_NE(job.output().find(cat("process rank ", victim)), std::string::npos) << job.output();
    in_a_save += !incomplete_checkpoints(dir + "/run", SaveKind::kCheckpoint).empty();
    const auto all = list_checkpoints(dir + "/run");
    const int64_t now = all.empty() ? 0 : all.back().step;
    ASSERT_GE(now, newest);
    restarts_that_went_on += now > newest;
    newest = now;
  }
  std::printf("%d kills, %d inside a save, %ld restarts got further, to step %ld\n", killed, in_a_save,
              long(restarts_that_went_on), long(newest));
  EXPECT_GT(restarts_that_went_on, 0);
  EXPECT_GE(in_a_save, kKills / 5);
  options.stop_at = newest + 3, options.parallel.zero = 1;
  run_well(kRanks, "run", true);
  run_well(kRanks, "straight");
  expect_same_bits("straight", "run", newest + 3);
}

}  // namespace
}  // namespace puyu
