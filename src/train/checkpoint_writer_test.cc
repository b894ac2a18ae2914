// Saves in the background hold the state at the moment they were asked for, whatever training does meanwhile.
#include "train/checkpoint_writer.h"

#include "base/log.h"
#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

class CheckpointWriterTest : public FolderTest {
 protected:
  static Learner make_learner(uint64_t seed) {
    Weights w = make_weights(tiny_model(), Head::kLanguage, DType::kF32);
    init_weights(w, seed);
    return {std::move(w), {}, Recompute::kNone};
  }
  static void train_a_step(Learner& l, int32_t first) {
    Batch b;
    std::vector<int32_t> ids(20), target(20);
    for (int32_t i = 0; i < 20; ++i) ids[i] = (first + i) % 40, target[i] = (first + i + 1) % 40;
    b.add(ids.data(), 20);
    const std::vector<float> coef(20, -0.05f);
    l.accumulate_lm(b, target, coef);
    l.apply(1e-2);
  }
  static TrainState at_step(int64_t step) {
    TrainState s;
    s.step = step, s.optimizer_step = step;
    return s;
  }
  CheckpointWriter::Options options(const std::string& run, bool background = true, int64_t keep = 2) {
    make_directories(dir + "/" + run);
    return {dir + "/" + run, "", Json::object(), keep, background};
  }
  std::vector<int64_t> steps(const std::string& run, SaveKind kind) {
    std::vector<int64_t> out;
    for (const auto& c : list_checkpoints(dir + "/" + run, kind)) out.push_back(c.step);
    return out;
  }
};

TEST_F(CheckpointWriterTest, HoldsTheStateOfTheMomentItWasAskedFor) {
  Learner learner = make_learner(3);
  train_a_step(learner, 0);
  CheckpointWriter standing(options("standing", false), learner), running(options("running"), learner);
  standing.begin(at_step(1));
  EXPECT_FALSE(standing.busy());
  EXPECT_EQ(standing.poll(), dir + "/standing/checkpoints/step-000001");
  running.begin(at_step(1));
  EXPECT_TRUE(running.busy());
  learner.set_rope_theta(77);
  for (int i = 0; i < 5; ++i) train_a_step(learner, i);
  EXPECT_EQ(running.finish(), dir + "/running/checkpoints/step-000001");
  for (const char* f : {"model.safetensors", "config.json", "optimizer.safetensors", "state.json", "complete"})
    EXPECT_TRUE(read_file(dir + "/standing/checkpoints/step-000001/" + f) ==
                read_file(dir + "/running/checkpoints/step-000001/" + f))
        << f;
  // A second save uses the same memory and holds the new state.
  running.begin(at_step(6)), running.finish();
  Learner loaded = make_learner(4);
  EXPECT_EQ(load_latest(dir + "/running", loaded)->step, 6);
  loaded.state().each_slice(Zero::Set::kMoment2, true, [&](const Zero::Slice& s) {
    learner.state().each_slice(Zero::Set::kMoment2, true, [&](const Zero::Slice& t) {
      if (s.tensor.name != t.tensor.name) return;
      for (int64_t i = 0; i < s.data.numel(); ++i) ASSERT_EQ(s.data.as<float>()[i], t.data.as<float>()[i]);
    });
  });
}

TEST_F(CheckpointWriterTest, KeepsTheNewestAndTwoSnapshots) {
  Learner learner = make_learner(3);
  CheckpointWriter writer(options("run", true, 3), learner);
  for (int64_t step = 1; step <= 12; ++step) {
    const bool snapshot = step % 2 == 1;
    writer.begin(at_step(step), snapshot ? SaveKind::kSnapshot : SaveKind::kCheckpoint);
    EXPECT_EQ(writer.finish(),
              checkpoint_path(dir + "/run", snapshot ? SaveKind::kSnapshot : SaveKind::kCheckpoint, step));
  }
  EXPECT_EQ(steps("run", SaveKind::kCheckpoint), (std::vector<int64_t>{8, 10, 12}));
  EXPECT_EQ(steps("run", SaveKind::kSnapshot), (std::vector<int64_t>{9, 11}));
  Learner other = make_learner(4);
  EXPECT_EQ(load_latest(dir + "/run", other)->step, 12);
  std::filesystem::remove_all(dir + "/run/checkpoints/step-000012");
  EXPECT_EQ(load_latest(dir + "/run", other)->step, 11);  // the snapshot is newer than any checkpoint
  std::filesystem::remove(dir + "/run/snapshots/step-000011/optimizer.safetensors");  // a part is missing
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(load_latest(dir + "/run", other)->step, 10);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("snapshots/step-000011/optimizer.safetensors"), std::string::npos) << said;
  EXPECT_NE(said.find("going back to " + dir + "/run/checkpoints/step-000010"), std::string::npos) << said;
}

TEST_F(CheckpointWriterTest, WhatAKilledRunLeftIsRemovedAndNamed) {
  Learner learner = make_learner(3);
  { CheckpointWriter(options("run"), learner).begin(at_step(4)); }  // destroyed before it is complete
  EXPECT_TRUE(list_checkpoints(dir + "/run").empty());
  ASSERT_EQ(incomplete_checkpoints(dir + "/run", SaveKind::kCheckpoint).size(), 1u);
  ::testing::internal::CaptureStderr();
  CheckpointWriter again(options("run"), learner);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("step-000004 was not finished"), std::string::npos);
  EXPECT_FALSE(file_exists(dir + "/run/checkpoints/step-000004"));
}

// (A failure of the thread itself: TrainerTest.ADiskThatFillsUp...)
TEST_F(CheckpointWriterTest, AFolderThatCannotBeMadeIsAnErrorOfTheRun) {
  Learner learner = make_learner(3);
  CheckpointWriter writer(options("run"), learner);
  write_file(dir + "/run/checkpoints", "");
  try {
    writer.begin(at_step(5)), writer.finish();
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("step 5 could not be saved"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("checkpoints/step-000005"), std::string::npos) << e.what();
  }
  EXPECT_FALSE(writer.busy());
}

}  // namespace
}  // namespace puyu
