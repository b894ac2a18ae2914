// The loop: what is saved and resumed is bitwise the straight run, in-process and through kill -9 of a real process.
#include "train/trainer.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>

#include "base/signal.h"
#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

class TrainerTest : public FolderTest {
 protected:
  std::string checkpoint(const std::string& run, int64_t step) {
    char name[32];
    std::snprintf(name, sizeof name, "/checkpoints/step-%06ld", long(step));
    return dir + "/" + run + name;
  }
  // The last checkpoint's weights, moments and state, and the curve, without times.
  void expect_same_run(const std::string& a, const std::string& b, int64_t step) {
    for (const char* f : {"model.safetensors", "optimizer.safetensors", "config.json"})
      EXPECT_EQ(hash64_of(checkpoint(a, step) + "/" + f), hash64_of(checkpoint(b, step) + "/" + f)) << f;
    auto state = [&](const std::string& run) {
      return Json::parse(read_file(checkpoint(run, step) + "/state.json")).at("state");
    };
    EXPECT_EQ(state(a).dump(), state(b).dump());
    EXPECT_EQ(curve(a), curve(b));
  }
  size_t hash64_of(const std::string& path) { return std::hash<std::string>{}(read_file(path)); }
  std::string curve(const std::string& run) {
    std::string out, text = read_file(dir + "/" + run + "/metrics.jsonl");
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      StepMetrics m = metrics_from_json(Json::parse(std::string_view(text).substr(at, end - at)));
      m.seconds = m.data_seconds = m.model_seconds = m.optimizer_seconds = m.reduce_seconds = m.save_seconds =
          m.forward_seconds = m.backward_seconds = m.tgs = m.time = 0;
      out += to_json(m).dump() + "\n";
    }
    return out;
  }
  std::string error_of(const TrainOptions& o, const std::string& run, bool resume) {
    try {
      train(o, dir + "/" + run, resume);
    } catch (const Error& e) { return e.what(); }
    return "";
  }
};

TEST_F(TrainerTest, LearnsAndReports) {
  TrainOptions o = tiny_run(dir);
  o.peak_tflops = 1;
  o.phases[0].steps = 60;
  TrainReport r = train(o, dir + "/run", false);
  ASSERT_EQ(r.steps.size(), 66u);
  EXPECT_FALSE(r.interrupted);
  EXPECT_NEAR(r.steps[0].loss, std::log(40.0), 0.1);
  EXPECT_LT(r.steps.back().loss, 1.5);
  EXPECT_GT(r.steps[0].mfu, 0);
  ASSERT_EQ(r.valid().size(), 1u);
  EXPECT_LT(r.valid()[0].loss, 1.5);
  EXPECT_EQ(load_model_config(r.model_dir).rope_theta, 1e5);
  EXPECT_EQ(list_checkpoints(dir + "/run").size(), 2u);  // keep_checkpoints
  EXPECT_NE(error_of(o, "run", false).find("--resume"), std::string::npos);
}

TEST_F(TrainerTest, ResumeIsBitwiseTheStraightRun) {
  TrainOptions o = tiny_run(dir);
  for (const char* dtype : {"f32", "bf16"}) {
    o.dtype = dtype, o.stop_at = 0;
    const std::string straight = std::string("straight_") + dtype, stopped = std::string("stopped_") + dtype;
    train(o, dir + "/" + straight, false);
    for (int64_t stop : {1, 5, 8, 9, 12, 0}) {  // 8: the border of the phases
      o.stop_at = stop;
      TrainReport r = train(o, dir + "/" + stopped, stop != 1);
      EXPECT_EQ(r.interrupted, stop != 0);
    }
    expect_same_run(straight, stopped, 14);
  }
}

TEST_F(TrainerTest, MicroBatchesDoNotChangeTheRun) {
  TrainOptions o = tiny_run(dir);
  o.lr = 1e-3;  // Adam's first steps divide small gradients by themselves, rounding included
  TrainReport a = train(o, dir + "/small", false);
  o.micro_tokens = 128;
  TrainReport b = train(o, dir + "/large", false);
  for (size_t i = 0; i < a.steps.size(); ++i) {
    EXPECT_EQ(a.steps[i].tokens, b.steps[i].tokens);
    EXPECT_NEAR(a.steps[i].loss, b.steps[i].loss, 1e-4) << i;
    EXPECT_NEAR(a.steps[i].grad_norm, b.steps[i].grad_norm, 1e-3 * b.steps[i].grad_norm) << i;
  }
}

TEST_F(TrainerTest, DamagedCheckpointIsNamedAndTheOneBeforeIsUsed) {
  TrainOptions o = tiny_run(dir);
  train(o, dir + "/straight", false);
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    std::filesystem::remove_all(dir + "/run");
    o.stop_at = 6;
    train(o, dir + "/run", false);
    const std::string path = checkpoint("run", 6) + "/" + file;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
    ::testing::internal::CaptureStderr();
    o.stop_at = 0;
    TrainReport r = train(o, dir + "/run", true);
    EXPECT_NE(::testing::internal::GetCapturedStderr().find(path), std::string::npos) << file;
    EXPECT_EQ(r.resumed_from, 3);
    EXPECT_EQ(hash64_of(dir + "/run/model/model.safetensors"), hash64_of(dir + "/straight/model/model.safetensors"));
  }
  for (int64_t s : {12, 14}) std::filesystem::resize_file(checkpoint("run", s) + "/model.safetensors", 100);
  EXPECT_NE(error_of(o, "run", true).find("none of its 2 checkpoints"), std::string::npos);
}

TEST_F(TrainerTest, AnotherTokenizerOrOtherDataIsAnError) {
  TrainOptions o = tiny_run(dir);
  o.stop_at = 3;
  train(o, dir + "/run", false);
  write_shard(dir + "/b", make_documents(41, 20, 2));
  EXPECT_NE(error_of(o, "run", true).find("the data"), std::string::npos);
  write_shard(dir + "/a", make_documents(60, 50, 1), 8);
  write_shard(dir + "/b", make_documents(40, 20, 2), 8);
  EXPECT_NE(error_of(o, "run", true).find("tokenizer"), std::string::npos);
}

TEST_F(TrainerTest, IdsBeyondTheVocabularyAreAnError) {
  TrainOptions o = tiny_run(dir);
  write_shard(dir + "/b", {{1, 2, 40}});
  EXPECT_NE(error_of(o, "run", false).find("token id 40, the model's vocab_size is 40"), std::string::npos);
  EXPECT_FALSE(file_exists(dir + "/run/metrics.jsonl"));
}

TEST_F(TrainerTest, NaNStepsAreSkippedCountedAndEndTheRun) {
  TrainOptions o = tiny_run(dir);
  o.lr = 1e38, o.max_skipped = 3, o.warmup_steps = 0;
  EXPECT_NE(error_of(o, "run", false).find("3 steps in a row"), std::string::npos);
  RunLog log(dir + "/run", 100);
  EXPECT_TRUE(log.steps().back().skipped);
}

TEST_F(TrainerTest, CtrlCSavesAndResumeGoesOn) {
  TrainOptions o = tiny_run(dir);
  train(o, dir + "/straight", false);
  o.stop_at = 4;
  train(o, dir + "/run", false);
  o.stop_at = 0;
  catch_interrupts();
  raise(SIGTERM);
  TrainReport r = train(o, dir + "/run", true);
  clear_interrupt();
  EXPECT_TRUE(r.interrupted);
  EXPECT_EQ(r.steps.size(), 4u);
  train(o, dir + "/run", true);
  expect_same_run("run", "straight", 14);
}

TEST_F(TrainerTest, TheWarningOfATimeLimitSavesAndStops) {
  TrainOptions o = tiny_run(dir);
  catch_interrupts();
  o.stop_at = 3;
  train(o, dir + "/run", false);
  o.stop_at = 0;
  raise(SIGUSR1), raise(SIGUSR1), raise(SIGTERM);  // Slurm: the warning, perhaps again, then the limit
  EXPECT_TRUE(interrupted());
  EXPECT_TRUE(train(o, dir + "/run", true).interrupted);
  clear_interrupt();
  EXPECT_FALSE(interrupted());
  EXPECT_EQ(list_checkpoints(dir + "/run").back().step, 3);
}

TEST_F(TrainerTest, TheStopFileSavesAndStops) {
  TrainOptions o = tiny_run(dir);
  o.checkpoint_every = 0;
  train(o, dir + "/straight", false);
  make_directories(dir + "/run");
  write_file(dir + "/run/stop", " 5\n");
  TrainReport r = train(o, dir + "/run", false);
  EXPECT_TRUE(r.interrupted);
  EXPECT_EQ(list_checkpoints(dir + "/run").back().step, 5);
  EXPECT_FALSE(file_exists(dir + "/run/stop"));
  write_file(dir + "/run/stop", "");
  EXPECT_TRUE(train(o, dir + "/run", true).interrupted);
  EXPECT_EQ(list_checkpoints(dir + "/run").back().step, 6);
  o.keep_checkpoints = 0, o.stop_file = dir + "/other";
  write_file(o.stop_file, "save");
  write_file(dir + "/run/stop", "stop");  // not the stop file of this run
  r = train(o, dir + "/run", true);
  EXPECT_FALSE(r.interrupted);
  std::vector<int64_t> steps;
  for (const auto& c : list_checkpoints(dir + "/run")) steps.push_back(c.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{5, 6, 7, 14}));
  expect_same_run("run", "straight", 14);
  write_file(o.stop_file, "halt");
  ::testing::internal::CaptureStderr();
  train(o, dir + "/again", false);
  const std::string said = ::testing::internal::GetCapturedStderr();
  ASSERT_NE(said.find("got 'halt'"), std::string::npos) << said;
  EXPECT_EQ(said.find("got 'halt'"), said.rfind("got 'halt'")) << "warned more than once";
  EXPECT_EQ(Json::parse(read_file(dir + "/again/heartbeat.json")).at("step").as_int(), 14);
}

// A batch that the guard leaves out is a batch that skip_batches names: the same run, bit for bit.
TEST_F(TrainerTest, SkippingAndRollingBackAreTheRunWithoutThoseBatches) {
  TrainOptions o = tiny_run(dir);
  o.phases[0].steps = 30, o.checkpoint_every = 4, o.keep_checkpoints = 0, o.snapshot_every = 3;
  o.guard.on_outlier = "skip", o.guard.norm_outlier = 1, o.guard.window = 4, o.max_skipped = 100;
  TrainReport skipped = train(o, dir + "/skipped", false);
  std::string list;
  for (const StepMetrics& m : skipped.steps)
    if (m.skipped) {
      list += cat(list.empty() ? "" : ",", m.step);
      EXPECT_NE(cat(m.events.at(0)).find("norm_outlier: gradient norm "), std::string::npos);
    }
  ASSERT_GT(skipped.skipped, 0) << "no outlier in this run";
  EXPECT_LT(skipped.skipped, 20);
  TrainOptions plain = o;
  plain.guard.norm_outlier = 0, plain.skip_batches = list;
  train(plain, dir + "/named", false);
  const std::string end = "/model/model.safetensors";
  EXPECT_EQ(hash64_of(dir + "/skipped" + end), hash64_of(dir + "/named" + end));
  o.guard.on_outlier = "rollback", o.guard.max_rollbacks = 100;
  TrainReport rolled = train(o, dir + "/rolled", false);
  EXPECT_EQ(hash64_of(dir + "/rolled" + end), hash64_of(dir + "/named" + end));
  EXPECT_NE(curve("rolled").find("left_out: "), std::string::npos);
  EXPECT_NE(curve("rolled").find("rollback: back to step "), std::string::npos);
  for (size_t i = 0; i < rolled.steps.size(); ++i) EXPECT_EQ(rolled.steps[i].step, static_cast<int64_t>(i) + 1);
  // And it resumes: the batches that were found bad are in the checkpoint.
  o.stop_at = 20;
  train(o, dir + "/stopped", false);
  o.stop_at = 0;
  train(o, dir + "/stopped", true);
  EXPECT_EQ(hash64_of(dir + "/stopped" + end), hash64_of(dir + "/named" + end));
}

TEST_F(TrainerTest, RollingBackForEverIsAnError) {
  TrainOptions o = tiny_run(dir);
  o.lr = 1e38, o.warmup_steps = 0, o.checkpoint_every = 1, o.guard.on_nan = "rollback", o.guard.max_rollbacks = 2;
  const std::string error = error_of(o, "run", false);
  EXPECT_NE(error.find("has rolled back 2 times already"), std::string::npos) << error;
}

TEST_F(TrainerTest, TheLogAddsUp) {
  TrainOptions o = tiny_run(dir);
  o.peak_tflops = 1e-3, o.batch_ramp = {32, 32, 2};
  TrainReport r = train(o, dir + "/run", false);
  int64_t consumed = 0;
  for (const StepMetrics& m : r.steps) {
    consumed += std::min<int64_t>(128, 32 + (m.step - 1) / 2 * 32);
    EXPECT_EQ(m.consumed_tokens, consumed);
    double loss = 0, squares = 0, correct = 0;
    int64_t tokens = 0;
    ASSERT_EQ(m.sources.size(), 2u);
    for (const SourceLoss& s : m.sources)
      if (s.tokens > 0)
        loss += s.loss * static_cast<double>(s.tokens), correct += s.accuracy * static_cast<double>(s.tokens),
            tokens += s.tokens;
    EXPECT_EQ(tokens, m.tokens);
    EXPECT_NEAR(loss / static_cast<double>(tokens), m.loss, 1e-6);
    EXPECT_NEAR(correct / static_cast<double>(tokens), m.accuracy, 1e-6);
    ASSERT_EQ(m.grad_norms.size(), 5u);
    for (const auto& [name, norm] : m.grad_norms) {
      EXPECT_GT(norm, 0) << name;
      squares += norm * norm;
    }
    EXPECT_NEAR(std::sqrt(squares), m.grad_norm, 1e-9);
    EXPECT_GT(m.mfu, 0);
    EXPECT_GT(m.mfu_internevo, m.mfu_megatron);  // which does not know grouped queries
    EXPECT_LE(m.forward_seconds + m.backward_seconds, m.model_seconds);
  }
  EXPECT_DOUBLE_EQ(r.steps.back().sources[0].epochs + 0.0,
                   static_cast<double>(Json::parse(read_file(checkpoint("run", 14) + "/state.json"))
                                           .at("state")
                                           .at("loader")
                                           .as_array()[0]
                                           .at("seen")
                                           .as_int()) /
                       static_cast<double>(Loader({o.data[0]}, 1, 64).tokens()));
  EXPECT_EQ(to_json(metrics_from_json(to_json(r.steps[3]))).dump(), to_json(r.steps[3]).dump());
}

// Tasks are asked of a folder that is the model of that step, and change nothing of the run.
TEST_F(TrainerTest, TasksAreAskedDuringTheRun) {
  TrainOptions o = tiny_run(dir);
  o.stop_at = 14;  // a checkpoint of the last step, to compare with
  train(o, dir + "/plain", false);
  o.eval.tasks = {"counting"}, o.eval.data = "unused", o.eval.every = 5;
  std::vector<size_t> asked;
  const Evaluate evaluate = [&](const std::string& model) {
    asked.push_back(hash64_of(model + "/model.safetensors"));
    EXPECT_TRUE(file_exists(model + "/config.json"));
    return std::vector<TaskScore>{{"counting", "exact_match", 0.25 * static_cast<double>(asked.size()), 0.1, 12}};
  };
  const std::unique_ptr<Comm> alone = self_comm();
  o.keep_checkpoints = 0, o.checkpoint_every = 5;
  const TrainReport r = train(o, dir + "/run", false, *alone, evaluate);
  ASSERT_EQ(asked.size(), 3u);  // after steps 5, 10 and the last
  EXPECT_EQ(asked[0], hash64_of(checkpoint("run", 5) + "/model.safetensors"));
  EXPECT_EQ(asked[2], hash64_of(r.model_dir + "/model.safetensors"));
  EXPECT_EQ(asked[2], hash64_of(dir + "/plain/model/model.safetensors"));
  EXPECT_FALSE(file_exists(dir + "/run/evaluated"));
  for (const StepMetrics& m : r.steps) EXPECT_EQ(m.tasks.size(), m.step == 5 || m.step == 10 || m.step == 14 ? 1u : 0u);
  EXPECT_EQ(
      Json::parse(to_json(r.steps[9]).dump()).at("tasks").at("counting").at("exact_match").at("value").as_double(),
      0.5);
  EXPECT_EQ(to_json(metrics_from_json(to_json(r.steps[9]))).dump(), to_json(r.steps[9]).dump());
}

// A child process of this very program runs this "test" alone, in the folder that the parent names.
class TrainChild : public ::testing::Test {};
TEST_F(TrainChild, Run) {
  const char* at = std::getenv("PUYU_TRAIN_CHILD");
  if (!at) GTEST_SKIP() << "the helper process of the tests below";
  const std::string dir = at;
  TrainOptions o = tiny_run(dir);
  o.phases[0].steps = 90, o.phases[1].steps = 60, o.checkpoint_every = 2;
  try {
    train(o, dir + "/run", true);
  } catch (const Error& e) { write_file(dir + "/error", e.what()); }
}

// Starts the helper process; largest_file: no file may grow above (0: no limit), as on a full disk.
pid_t start_child(const std::string& dir, rlim_t largest_file = 0) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  setenv("PUYU_TRAIN_CHILD", dir.c_str(), 1);
  if (largest_file) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{largest_file, largest_file};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)) _exit(3);
  execl("/proc/self/exe", "test_train", "--gtest_filter=TrainChild.Run", static_cast<char*>(nullptr));
  _exit(2);
}

class SlowTrainerKill : public TrainerTest {};
TEST_F(SlowTrainerKill, ResumeAfterKillMinusNineIsBitwiseTheStraightRun) {
  std::filesystem::create_directories(dir + "/s");
  const auto begin = std::chrono::steady_clock::now();
  int status = 0;
  waitpid(start_child(dir + "/s"), &status, 0);
  ASSERT_EQ(status, 0);
  const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Rng rng(static_cast<uint64_t>(getpid()));
  int killed = 0, inside_a_checkpoint = 0;
  for (int i = 0; i < 40; ++i) {
    const pid_t pid = start_child(dir);
    usleep(static_cast<useconds_t>(1e6 * whole * (0.05 + 0.15 * rng.uniform())));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status)) break;
    ++killed;
    std::error_code ec;
    std::string newest;
    for (const auto& e : std::filesystem::directory_iterator(dir + "/run/checkpoints", ec))
      newest = std::max(newest, e.path().string());
    inside_a_checkpoint += !newest.empty() && !file_exists(newest + "/complete");
  }
  EXPECT_GE(killed, 1);
  std::printf("killed %d times, %d of them inside a checkpoint's write\n", killed, inside_a_checkpoint);
  waitpid(start_child(dir), &status, 0);
  ASSERT_EQ(status, 0);
  std::filesystem::rename(dir + "/s/run", dir + "/straight");
  expect_same_run("run", "straight", 150);
  EXPECT_FALSE(file_exists(dir + "/error"));
}

TEST_F(TrainerTest, FullDiskIsAnErrorAndEarlierCheckpointsStay) {
  TrainOptions o = tiny_run(dir);
  o.phases[0].steps = 90, o.phases[1].steps = 60, o.checkpoint_every = 2, o.stop_at = 3;
  train(o, dir + "/run", false);
  const auto before = list_checkpoints(dir + "/run");
  ASSERT_EQ(before.back().step, 3);
  const auto model = hash64_of(checkpoint("run", 3) + "/model.safetensors");
  int status = 0;  // room for the weights, none for the moments
  waitpid(start_child(dir, std::filesystem::file_size(checkpoint("run", 3) + "/model.safetensors") + 4000), &status, 0);
  ASSERT_EQ(status, 0);
  const std::string error = read_file(dir + "/error");
  EXPECT_NE(error.find("step 4 could not be saved"), std::string::npos) << error;
  EXPECT_NE(error.find("optimizer.safetensors"), std::string::npos) << error;
  EXPECT_EQ(list_checkpoints(dir + "/run").back().step, 3);
  EXPECT_EQ(hash64_of(checkpoint("run", 3) + "/model.safetensors"), model);
  EXPECT_FALSE(file_exists(checkpoint("run", 4)));
  waitpid(start_child(dir), &status, 0);  // with space again it goes on
  EXPECT_EQ(list_checkpoints(dir + "/run").back().step, 150);
}

// A file system of its own that is large enough for one or two checkpoints: the thread that writes the next runs out of
// it. Exit codes: 77 = this machine lets no test mount one.
int train_on_a_small_disk(const std::string& dir, const std::string& size) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
    mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    std::filesystem::create_directories(dir + "/small");
    if (mount("tmpfs", (dir + "/small").c_str(), "tmpfs", 0, ("size=" + size).c_str()) != 0) _exit(77);
    TrainOptions o = tiny_run(dir);
    o.checkpoint_every = 2, o.keep_checkpoints = 0;
    std::string said = "no error";
    try {
      train(o, dir + "/small/run", false);
    } catch (const Error& e) { said = e.what(); }
    for (const auto& c : list_checkpoints(dir + "/small/run")) said += cat("\ncomplete: ", c.step);
    for (const auto& c : incomplete_checkpoints(dir + "/small/run", SaveKind::kCheckpoint)) said += "\nleft: " + c;
    write_file(dir + "/said", said);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST_F(TrainerTest, ADiskThatFillsUpWhileItIsWrittenInTheBackground) {
  const int code = train_on_a_small_disk(dir, "170k");
  if (code == 77) GTEST_SKIP() << "no file system can be mounted here (unshare)";
  ASSERT_EQ(code, 0);
  const std::string said = read_file(dir + "/said");
  const bool second = said.find("step 4 could not be saved: ") != std::string::npos;
  EXPECT_TRUE(second || said.find("step 6 could not be saved: ") != std::string::npos) << said;
  EXPECT_NE(said.find(second ? "step-000004/" : "step-000006/"), std::string::npos) << said;
  EXPECT_NE(said.find("No space left on device"), std::string::npos) << said;
  EXPECT_NE(said.find(second ? "complete: 2" : "complete: 4"), std::string::npos) << said;
  EXPECT_EQ(said.find("left: "), std::string::npos) << said;
  ASSERT_EQ(train_on_a_small_disk(dir, "20k"), 0);  // not even for one: said before the first step
  EXPECT_NE(read_file(dir + "/said").find("a checkpoint takes "), std::string::npos) << read_file(dir + "/said");
}

}  // namespace
}  // namespace puyu
