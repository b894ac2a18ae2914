// What a run leaves for people and programs: metrics.jsonl (one JSON object a step), tensorboard/ (the same numbers as
// an event file) and manifest.toml (all options, commit, machine). After a resume metrics.jsonl holds each step once:
// lines after the checkpoint's step are dropped, and the event file is written anew from the lines that stay.
#pragma once
#include "base/fields.h"
#include "base/json.h"

namespace puyu {

struct ValidLoss {
  std::string name;
  double loss = 0;      // mean negative log-likelihood per token, nats
  double accuracy = 0;  // share of tokens that were the most likely one
  int64_t tokens = 0;
};

struct StepMetrics {
  int64_t step = 0;  // 1 = the first
  std::string phase;
  double loss = 0, accuracy = 0, grad_norm = 0, lr = 0;
  bool skipped = false;
  int64_t tokens = 0, consumed_tokens = 0;                                         // of this step; since the run began
  double seconds = 0, data_seconds = 0, model_seconds = 0, optimizer_seconds = 0;  // model: forward + backward
  double reduce_seconds = 0;     // spent waiting for other ranks, in any of these
  double save_seconds = 0;       // that training stood still for checkpoints, before this step
  double tgs = 0;                // tokens per second and rank
  double mfu = 0;                // 0 = unknown
  double time = 0;               // Unix time at the step's end
  std::vector<ValidLoss> valid;  // empty when not validated at this step
};
Json to_json(const StepMetrics& m);
StepMetrics metrics_from_json(const Json& j);

class RunLog {
 public:
  // Continues the log of run_dir after `step` steps; 0 = from the beginning.
  RunLog(const std::string& run_dir, int64_t step);
  void add(const StepMetrics& m);
  const std::vector<StepMetrics>& steps() const { return steps_; }  // those of earlier processes too

 private:
  std::string metrics_path_, events_path_;
  std::vector<StepMetrics> steps_;
};

void write_manifest(const std::string& run_dir, const Fields& options);

}  // namespace puyu
