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

// One number of a task that the model was asked.
struct TaskScore {
  std::string task, metric;
  double value = 0, error = 0;  // error: standard error
  int64_t samples = 0;
};

struct SourceLoss {
  std::string name;
  double loss = 0, accuracy = 0;  // of its tokens in this step; NaN where it had none
  int64_t tokens = 0;             // counted
  double epochs = 0;              // tokens read since the run began / tokens of the source
};

struct StepMetrics {
  int64_t step = 0;  // 1 = the first
  std::string phase;
  double loss = 0, accuracy = 0, grad_norm = 0, lr = 0;
  bool skipped = false;                     // nothing was trained: an inf or NaN, or what `events` says
  int64_t tokens = 0, consumed_tokens = 0;  // of this step; since the run began
  double seconds = 0, data_seconds = 0, model_seconds = 0, optimizer_seconds = 0;  // model: forward + backward
  double reduce_seconds = 0;                         // spent waiting for other ranks, in any of these
  double save_seconds = 0;                           // that training stood still for checkpoints, before this step
  double tgs = 0;                                    // tokens per second and rank
  double forward_seconds = 0, backward_seconds = 0;  // of rank 0; forward: with the loss
  double mfu = 0;                                    // 0 = unknown
  double mfu_internevo = 0, mfu_megatron = 0;        // the same step by their formulas (train/flops.h)
  std::vector<std::pair<std::string, double>> grad_norms;  // by part of the model
  std::vector<SourceLoss> sources;
  std::vector<std::string> events;  // "loss_spike: loss 7.1 after …"
  double time = 0;                  // Unix time at the step's end
  std::vector<ValidLoss> valid;     // empty when not validated at this step
  std::vector<TaskScore> tasks;     // empty when none were asked at this step
};
// The step for people, on one line; ranks: how many train.
std::string step_line(const StepMetrics& m, int64_t total_steps, int ranks);
Json to_json(const StepMetrics& m);
StepMetrics metrics_from_json(const Json& j);
// A run's metrics.jsonl up to step `last`. Error names the line.
std::vector<StepMetrics> read_metrics(const std::string& path, int64_t last = INT64_MAX);

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
