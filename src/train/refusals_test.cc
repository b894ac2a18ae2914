// What cannot train is refused before the first step, with what and where: nothing is left that looks like a run.
#include <functional>

#include "base/config.h"
#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

class Refusals : public FolderTest {
 protected:
  // A run that is not begun: says all of `said`, leaves no curve and no checkpoint.
  void refused(const std::string& what, const std::function<void(TrainOptions&)>& change,
               const std::vector<std::string>& said) {
    TrainOptions o = tiny_run(dir);
    change(o);
    std::string error = "no error";
    try {
      train(o, dir + "/run", false);
    } catch (const Error& e) { error = e.what(); }
    for (const std::string& s : said) EXPECT_NE(error.find(s), std::string::npos) << what << ": " << error;
    EXPECT_FALSE(file_exists(dir + "/run/metrics.jsonl")) << what;
    EXPECT_TRUE(list_checkpoints(dir + "/run").empty()) << what;
    std::filesystem::remove_all(dir + "/run");
  }
  std::string error_of_config(const std::string& text) {
    TrainOptions o;
    try {
      load_config(o, text, "run.toml", {});
    } catch (const Error& e) { return e.what(); }
    return "no error";
  }
};

TEST_F(Refusals, Shapes) {
  refused("heads", [](auto& o) { o.model.num_kv_heads = 3; }, {"num_heads", "num_kv_heads"});
  refused("odd head", [](auto& o) { o.model.head_dim = 3; }, {"head_dim"});
  refused("long phase", [](auto& o) { o.phases[1].seq_len = o.micro_tokens = 129; },
          {"phases.1.seq_len 129", "max_position 128"});
  refused("wide sequence", [](auto& o) { o.phases[0].seq_len = 49; }, {"phases.0.seq_len 49", "micro_tokens 48"});
  refused("weights", [](auto& o) { o.phases[1].weights = {1}; }, {"phases.1.weights", "2 data sources, got 1"});
  refused("masters", [](auto& o) { o.masters = "bf16"; }, {"masters = bf16 needs dtype = bf16"});
  refused("tasks", [](auto& o) { o.eval.tasks = {"mmlu"}; }, {"eval.tasks", "eval.data"});
}

TEST_F(Refusals, UnknownKeysWithTheNearestKnownOneAndTheLine) {
  EXPECT_NE(error_of_config("lr = 1.0\nsnapshot_evry = 3\n").find("run.toml:2: unknown key 'snapshot_evry'"),
            std::string::npos);
  EXPECT_NE(error_of_config("[guard]\non_spik = 'skip'\n").find("did you mean 'on_spike'"), std::string::npos);
  EXPECT_NE(error_of_config("[[phases]]\nsteps = 1\nropetheta = 1.0\n").find("did you mean 'rope_theta'"),
            std::string::npos);
}

TEST_F(Refusals, ShardsThatAreMissingOrDamaged) {
  refused("missing", [&](auto& o) { o.data[1].path = dir + "/absent"; }, {dir + "/absent"});
  refused("missing valid", [&](auto& o) { o.valid[0].path = dir + "/absent"; }, {dir + "/absent"});
  refused("empty folder",
          [&](auto& o) {
            make_directories(dir + "/empty");
            o.data[0].path = dir + "/empty";
          },
          {dir + "/empty", "no token shards"});
  refused("damaged",
          [&](auto& o) {
            std::string bytes = read_file(o.data[0].path);
            bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
            write_file(o.data[0].path, bytes);
          },
          {dir + "/a"});
  refused("cut off", [&](auto& o) { std::filesystem::resize_file(o.data[0].path, 100); }, {dir + "/a"});
}

// A folder of shards that lost one since the checkpoint was written.
TEST_F(Refusals, AShardThatIsGoneWhenTheRunGoesOn) {
  TrainOptions o = tiny_run(dir);
  make_directories(dir + "/shards");
  std::filesystem::rename(dir + "/a", dir + "/shards/1.tok");
  std::filesystem::rename(dir + "/b", dir + "/shards/2.tok");
  o.data = {{"both", dir + "/shards", 1, -1}}, o.valid.clear(), o.phases[1].weights = {}, o.stop_at = 3;
  train(o, dir + "/run", false);
  std::filesystem::remove(dir + "/shards/2.tok");
  o.stop_at = 0;
  try {
    train(o, dir + "/run", true);
    FAIL() << "it goes on with less data";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("the data (names, documents, tokens) is not what the checkpoint"),
              std::string::npos)
        << e.what();
  }
  EXPECT_EQ(list_checkpoints(dir + "/run").back().step, 3);
}

TEST_F(Refusals, TokenizersThatAreMixed) {
  const std::vector<std::string> said{"another tokenizer than"};
  refused("two sources", [&](auto& o) { write_shard(o.data[1].path, make_documents(5, 9, 1), 8); }, said);
  refused("validation",
          [&](auto& o) {
            write_shard(dir + "/v", make_documents(5, 9, 1), 8);
            o.valid[0].path = dir + "/v";
          },
          {dir + "/v", "another tokenizer than the training data"});
  refused("one folder",
          [&](auto& o) {
            make_directories(dir + "/mixed");
            write_shard(dir + "/mixed/1.tok", make_documents(5, 9, 1), 7);
            write_shard(dir + "/mixed/2.tok", make_documents(5, 9, 1), 8);
            o.data[0].path = dir + "/mixed";
          },
          {dir + "/mixed/2.tok", "another tokenizer than"});
}

// A part of a checkpoint that is gone, cut off, or of another model.
TEST_F(Refusals, CheckpointsThatDoNotFit) {
  TrainOptions o = tiny_run(dir);
  o.stop_at = 3;
  train(o, dir + "/run", false);
  const std::string at = list_checkpoints(dir + "/run").back().path;
  auto error = [&](const TrainOptions& with) {
    try {
      train(with, dir + "/run", true);
    } catch (const Error& e) { return std::string(e.what()); }
    return std::string("no error");
  };
  TrainOptions wide = o;
  wide.model.intermediate_size = 32, wide.stop_at = 0;
  ::testing::internal::CaptureStderr();
  EXPECT_NE(error(wide).find("none of its 1 checkpoints can be read"), std::string::npos);
  std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("the model's shape is not the checkpoint's"), std::string::npos) << said;
  for (const char* part : {"optimizer.safetensors", "config.json", "state.json"}) {
    std::filesystem::rename(at + "/" + part, dir + "/away");
    ::testing::internal::CaptureStderr();
    EXPECT_NE(error(o).find("none of its 1 checkpoints can be read"), std::string::npos) << part;
    said = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find(cat(at, "/", part)), std::string::npos) << part << ": " << said;
    std::filesystem::rename(dir + "/away", at + "/" + part);
  }
  o.stop_at = 0;
  EXPECT_EQ(error(o), "no error");
}

}  // namespace
}  // namespace puyu
