// puyu demo: the whole chain on real text, station by station. Each station is a function of its options and of what
// the stations before it left in the run's folder; its result is a Json that the report is made of. A finished station
// is reused when nothing it depends on has changed, so a second run is quick and an interrupted one goes on.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "align/stages.h"
#include "base/json.h"
#include "data/pipeline.h"
#include "text/bpe_train.h"
#include "train/trainer.h"

namespace puyu {

struct DemoOptions {
  std::string out = "runs/demo";
  std::string corpus = ".cache/corpus";
  bool chat = true;
  int64_t arithmetic_documents = 2000;
  BpeTrainOptions tokenizer;
  TrainOptions pretrain;
  FinetuneOptions finetune;
  RewardRunOptions reward;
  RlhfOptions rlhf;

  DemoOptions();  // the recipe: docs/benchmarks/demo.md says how it was found
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder of the run");
    f("corpus", corpus, "folder of text, JSONL, HTML, manual pages or source code");
    f("chat", chat, "end in a chat (ten fixed questions when there is no terminal)");
    f("arithmetic_documents", arithmetic_documents, "documents of sums and differences for the end of pre-training");
    f("tokenizer", tokenizer, "tokenizer");
    f("pretrain", pretrain, "pre-training");
    f("finetune", finetune, "instruction data and supervised fine-tuning");
    f("reward", reward, "preference pairs and reward model");
    f("rlhf", rlhf, "PPO");
  }
};

// Where each station leaves what the next ones read: folders and files below `out`.
struct DemoPaths {
  explicit DemoPaths(const std::string& out);
  std::string out, data, tokenizer, tokens, arithmetic, pretrain, finetune, reward, rlhf, tasks, report;
  static std::string model(const std::string& run) { return run + "/model"; }
};

// Runs `work` unless OUT/stations/NAME.json holds a result for the same inputs (a text that names all options the
// station depends on, those of earlier stations included). Throws Interrupted when Ctrl-C came.
struct Interrupted {};
class Stations {
 public:
  explicit Stations(std::string out) : out_(std::move(out)) {}
  const Json& run(const std::string& name, const std::string& inputs, const std::function<Json()>& work);
  struct Done {
    std::string name;
    double seconds;
    bool reused;
    Json result;
  };
  const std::vector<Done>& done() const { return done_; }
  const Json& result(const std::string& name) const;

 private:
  std::string out_, chain_;  // chain_: the inputs of all stations so far
  std::vector<Done> done_;
};

// The stations (demo_stations.cc).
Json demo_data(const DemoOptions& o, const DemoPaths& p);
Json demo_tokenizer(const DemoOptions& o, const DemoPaths& p);
Json demo_tokens(const DemoOptions& o, const DemoPaths& p);
Json demo_pretrain(const DemoOptions& o, const DemoPaths& p);
Json demo_finetune(const DemoOptions& o, const DemoPaths& p);
Json demo_reward(const DemoOptions& o, const DemoPaths& p);
Json demo_rlhf(const DemoOptions& o, const DemoPaths& p);
Json demo_eval(const std::string& stage, const std::string& model, const DemoPaths& p);

// The ten questions and a model's answers to them.
const std::vector<std::string>& demo_questions();
std::vector<std::string> demo_answers(const std::string& model);

std::string demo_report(const DemoOptions& o, const Stations& s);  // HTML (demo_report.cc)

}  // namespace puyu
