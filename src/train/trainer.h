// Pre-training: the loop over steps. A step is forward and backward over its micro-batches, gradients divided by the
// counted tokens of the whole step, clip, AdamW. Several ranks split the sequences of a step; the run is the same for
// any number of them, but for rounding. Everything a run writes lies in run_dir: manifest.toml, metrics.jsonl,
// tensorboard/, checkpoints/ and at the end model/ (a model folder). `puyu train` and `puyu demo` call train().
#pragma once
#include "train/options.h"
#include "train/run_log.h"
#include "train/task_eval.h"

namespace puyu {

struct TrainReport {
  std::vector<StepMetrics> steps;  // the whole curve, steps before a resume included; on rank 0
  int64_t resumed_from = 0;        // 0: from the beginning
  int64_t skipped = 0;             // steps with an inf or NaN gradient
  int64_t parameters = 0;
  bool interrupted = false;                     // Ctrl-C, SIGTERM or stop_at: saved, not finished
  std::string model_dir;                        // the trained model; empty when interrupted
  const std::vector<ValidLoss>& valid() const;  // the last validation, empty when there was none
};

// resume: continue from run_dir's newest whole checkpoint (from the beginning when there is none). Without it a run_dir
// that holds a run is an Error. The continued run is bitwise the straight one, when it goes on with as many ranks.
// world: the ranks that train together; each calls train(). evaluate: asks the tasks of options.eval.
TrainReport train(const TrainOptions& options, const std::string& run_dir, bool resume, Comm& world,
                  const Evaluate& evaluate = {});
TrainReport train(const TrainOptions& options, const std::string& run_dir, bool resume);  // one process

}  // namespace puyu
