// How the training state is kept: bf16 masters with stochastic rounding, and moments in a file.
#include <fstream>

#include "comm/mpirun_test_util.h"
#include "train/state_files.h"
#include "train/step_test_util.h"

namespace puyu {
namespace {
using namespace test;

class Storage : public FolderTest {
 protected:
  std::string model(const std::string& run) { return read_file(dir + "/" + run + "/model/model.safetensors"); }
  std::string checkpoint(const std::string& run, const char* file) {
    return read_file(list_checkpoints(dir + "/" + run).back().path + "/" + file);
  }
};

TEST_F(Storage, RoundingStochasticallyLearnsAndIsAFunctionOfTheSeed) {
  TrainOptions o = tiny_run(dir);
  o.dtype = "bf16", o.phases[0].steps = 60;
  const double with_f32 = train(o, dir + "/f32", false).steps.back().loss;
  o.masters = "bf16";
  const double with_bf16 = train(o, dir + "/bf16", false).steps.back().loss;
  EXPECT_NEAR(with_bf16, with_f32, 0.15);
  train(o, dir + "/again", false);
  EXPECT_TRUE(model("bf16") == model("again"));
  EXPECT_FALSE(model("bf16") == model("f32"));
  // A checkpoint holds the weights once, in bf16.
  EXPECT_LT(checkpoint("bf16", "model.safetensors").size(), checkpoint("f32", "model.safetensors").size() * 6 / 10);
}

// Small updates of large weights: rounding to nearest loses them all, stochastic rounding keeps their sum.
TEST_F(Storage, SmallUpdatesAreNotLost) {
  ModelConfig c = tiny_model();
  Zero state(c, Head::kLanguage, DType::kBF16, std::make_shared<Ranks>(self_comm()), 0, {DType::kBF16, 5, ""});
  state.fill([](const FlatTensor&, size_t, Tensor whole) {
    for (int64_t i = 0; i < whole.numel(); ++i) whole.as<float>()[i] = 1;
  });
  const int steps = 200;
  for (int step = 1; step <= steps; ++step) {
    state.each_slice(Zero::Set::kGradient, true, [](const Zero::Slice& s) {
      for (int64_t i = 0; i < s.data.numel(); ++i) s.data.as<float>()[i] = -1;
    });
    state.update({1e-4f, 0.9f, 0.95f, 1e-8f, 0, 1, step});  // w grows by 1e-4; bf16 at 1 has steps of 2^-7
  }
  double sum = 0;
  int64_t n = 0;
  state.each_slice(Zero::Set::kMaster, true, [&](const Zero::Slice& s) {
    ASSERT_EQ(s.data.dtype, DType::kBF16);
    for (int64_t i = 0; i < s.data.numel(); ++i) sum += to_float(s.data.as<BF16>()[i]);
    n += s.data.numel();
  });
  // After 200 steps of 1e-4; each moves a weight by 2^-7 with probability 1e-4 * 2^7, so sd = sqrt(200 * 1e-4 * 2^-7).
  EXPECT_NEAR(sum / static_cast<double>(n), 1.02, 5 * 0.0125 / std::sqrt(n));
}

TEST_F(Storage, BothKindsOfMastersResumeBitwise) {
  for (const char* masters : {"f32", "bf16"}) {
    TrainOptions o = tiny_run(dir);
    o.dtype = "bf16", o.masters = masters, o.offload = dir;
    const std::string straight = cat(masters, "_straight"), stopped = cat(masters, "_stopped");
    train(o, dir + "/" + straight, false);
    for (int64_t stop : {5, 8, 0}) o.stop_at = stop, train(o, dir + "/" + stopped, stop != 5);
    for (const char* f : {"model.safetensors", "optimizer.safetensors"})
      EXPECT_TRUE(checkpoint(straight, f) == checkpoint(stopped, f)) << masters << " " << f;
  }
}

// One kind of masters goes on as the other: bf16 masters are read as they are, f32 ones rounded.
TEST_F(Storage, MastersMayChangeBetweenTwoParts) {
  TrainOptions o = tiny_run(dir);
  o.dtype = "bf16", o.stop_at = 5;
  for (const char* masters : {"bf16", "f32", "bf16"}) {
    o.masters = masters;
    const TrainReport r = train(o, dir + "/run", o.stop_at > 5);
    for (const StepMetrics& m : r.steps) EXPECT_TRUE(std::isfinite(m.loss));
    o.stop_at += 4;
  }
}

TEST_F(Storage, MomentsInAFileAreTheSameRun) {
  TrainOptions o = tiny_run(dir);
  train(o, dir + "/memory", false);
  make_directories(dir + "/disk");
  o.offload = dir + "/disk";
  train(o, dir + "/file", false);
  for (const char* f : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_TRUE(checkpoint("memory", f) == checkpoint("file", f)) << f;
  EXPECT_TRUE(std::filesystem::is_empty(dir + "/disk"));  // files without names: gone with the process
}

TEST_F(Storage, MomentsLieInTheFile) {
  Zero state(tiny_model(), Head::kLanguage, DType::kF32, std::make_shared<Ranks>(self_comm()), 0,
             {DType::kF32, 0, dir});
  std::ifstream maps("/proc/self/maps");
  int files = 0;
  for (std::string line; std::getline(maps, line);)
    files += line.find(dir + "/puyu-memory-") != std::string::npos && line.find("rw-s") != std::string::npos;
  EXPECT_EQ(files, 2);
}

TEST_F(Storage, AFolderThatCannotKeepThemIsAnError) {
  TrainOptions o = tiny_run(dir);
  o.offload = dir + "/absent";
  try {
    train(o, dir + "/run", false);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(dir + "/absent: cannot keep"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("No such file or directory"), std::string::npos) << e.what();
  }
}

// By two ranks: the bits do not depend on the ZeRO level, so rounding does not on how tensors are cut.
class StorageChild : public ::testing::Test {};
TEST_F(StorageChild, Ranks) {
  const char* at = std::getenv("PUYU_RANKS_CHILD");
  if (!at) GTEST_SKIP() << "one rank of the test below";
  Comm& world = world_of_test();
  const std::string dir = at;
  TrainOptions o;
  for (int r = 0; r < world.size(); ++r) {  // one after the other: it writes the data
    if (world.rank() == r) o = tiny_run(dir);
    world.barrier();
  }
  o.dtype = "bf16", o.masters = "bf16", o.micro_tokens = 128, o.offload = dir;
  std::string first;
  for (int64_t zero = 0; zero <= 3; ++zero) {
    o.parallel.zero = zero;
    const std::string run = cat(dir, "/zero", zero);
    train(o, run, false, world);
    world.barrier();
    const std::string model = read_file(run + "/model/model.safetensors");
    if (zero == 0) first = model;
    EXPECT_TRUE(model == first) << "ZeRO " << zero;
  }
  // Tensor ranks agree on what all of them have.
  o.parallel.zero = 1, o.parallel.mesh.tensor = 2, o.parallel.tensor_mode = "msp";
  const TrainReport r = train(o, dir + "/tensor", false, world);
  if (world.rank() == 0) {
    TrainOptions alone = o;
    alone.parallel = {};
    EXPECT_NEAR(r.steps.back().loss, train(alone, dir + "/one", false).steps.back().loss, 0.1);
  }
  world.barrier();
}
TEST_F(Storage, RoundingDoesNotDependOnTheZeroLevel) {
  if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
  const Ran r = run_on_ranks(2, "StorageChild.Ranks", dir);
  EXPECT_EQ(r.code, 0) << r.output;
}

}  // namespace
}  // namespace puyu
