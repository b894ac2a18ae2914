// Whole runs on several ranks, for tests: each is started by mpirun with its options in a file (RanksChild in
// ranks_test.cc), and its curve and checkpoints are compared with those of other runs.
#pragma once
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "base/config.h"
#include "comm/mpirun_test_util.h"
#include "train/train_test_util.h"

namespace puyu::test {

// What a rank is told by the test that starts it.
struct Order {
  std::string dir, run;
  bool resume = false;
  TrainOptions options;
  template <class F>
  void fields(F&& f) {
    f("dir", dir, ""), f("run", run, ""), f("resume", resume, ""), f("options", options, "");
  }
};

class TrainRanks : public FolderTest {
 protected:
  void SetUp() override {
    if (const std::string why = no_mpirun(); !why.empty()) GTEST_SKIP() << why;
    options = tiny_run(dir);
    options.parallel.patience = 60;
  }
  std::string write_order(const std::string& run, bool resume) {
    Order order{dir, run, resume, options};
    write_file(dir + "/order.toml", to_toml(list_fields(order)));
    return dir + "/order.toml";
  }
  Ran run(int ranks, const std::string& name, bool resume = false) {
    return run_on_ranks(ranks, "RanksChild.Train", write_order(name, resume));
  }
  void run_well(int ranks, const std::string& name, bool resume = false) {
    const Ran r = run(ranks, name, resume);
    ASSERT_EQ(r.code, 0) << r.output;
  }
  std::vector<StepMetrics> curve(const std::string& run) {
    std::vector<StepMetrics> out;
    std::istringstream lines(read_file(dir + "/" + run + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) out.push_back(metrics_from_json(Json::parse(line)));
    return out;
  }
  std::string checkpoint(const std::string& run, int64_t step) {
    char name[40];
    std::snprintf(name, sizeof name, "/checkpoints/step-%06ld/", long(step));
    return dir + "/" + run + name;
  }
  // The same bytes in the checkpoint, and the same curve up to it.
  void expect_same_bits(const std::string& a, const std::string& b, int64_t step) {
    for (const char* f : {"model.safetensors", "optimizer.safetensors", "config.json"})
      EXPECT_TRUE(read_file(checkpoint(a, step) + f) == read_file(checkpoint(b, step) + f)) << f << " of " << b;
    auto state = [&](const std::string& r) { return Json::parse(read_file(checkpoint(r, step) + "state.json")); };
    EXPECT_EQ(state(a).at("state").dump(), state(b).at("state").dump());
    const auto x = curve(a), y = curve(b);
    ASSERT_GE(x.size(), static_cast<size_t>(step));
    ASSERT_GE(y.size(), static_cast<size_t>(step));
    for (size_t i = 0; i < static_cast<size_t>(step); ++i) {
      EXPECT_EQ(x[i].step, y[i].step);
      EXPECT_EQ(x[i].loss, y[i].loss) << "step " << i + 1;
      EXPECT_EQ(x[i].grad_norm, y[i].grad_norm) << "step " << i + 1;
    }
  }
  // What ranks wrote is what one would have, with options of one rank: resumed by it and saved again, the same bytes;
  // and the model folder, in Hugging Face's form, is the checkpoint's.
  void expect_files_of_one(const std::string& run, int64_t steps) {
    const std::string again = run + "_again";
    std::filesystem::copy(dir + "/" + run, dir + "/" + again, std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(dir + "/" + again + "/model");
    options.stop_at = steps;
    train(options, dir + "/" + again, true);
    expect_same_bits(run, again, steps);
    for (const char* f : {"model.safetensors", "config.json"}) {
      const std::string exported = read_file(dir + "/" + run + "/model/" + f);
      EXPECT_TRUE(exported == read_file(dir + "/" + again + "/model/" + f)) << f;
      EXPECT_TRUE(exported == read_file(checkpoint(run, steps) + f)) << f;
    }
  }
  // The curve of one rank to rounding: Adam's first steps divide small gradients by themselves, so differences grow.
  void expect_near(const std::string& a, const std::string& b) {
    const auto x = curve(a), y = curve(b);
    ASSERT_EQ(x.size(), y.size());
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(x[i].tokens, y[i].tokens);
      EXPECT_EQ(x[i].consumed_tokens, y[i].consumed_tokens);
      EXPECT_NEAR(x[i].loss, y[i].loss, 1e-4) << b << " step " << i + 1;
      EXPECT_NEAR(x[i].grad_norm, y[i].grad_norm, 1e-3 * x[i].grad_norm) << b << " step " << i + 1;
      ASSERT_EQ(x[i].valid.size(), y[i].valid.size());
      for (size_t v = 0; v < x[i].valid.size(); ++v) EXPECT_NEAR(x[i].valid[v].loss, y[i].valid[v].loss, 1e-4);
    }
  }
  // Prints how far a curve is from that of one rank; expect_near holds the bounds.
  void compare(const std::string& name) {
    expect_near("one", name);
    const auto x = curve("one"), y = curve(name);
    double loss = 0, norm = 0;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      loss = std::max(loss, std::abs(x[i].loss - y[i].loss));
      norm = std::max(norm, std::abs(x[i].grad_norm / y[i].grad_norm - 1));
    }
    std::printf("| %-36s | loss %.1e | grad_norm %.1e |\n", name.c_str(), loss, norm);
  }
  TrainOptions options;
};

}  // namespace puyu::test
