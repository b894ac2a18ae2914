// Tasks of `puyu eval` during a run. This folder knows no tasks (eval/ stands after it): who calls train() gives it an
// Evaluate. The model is written as a folder first, so that any layout can be judged and the engine sees what a user
// would; rank 0 then asks it, the others wait, and the folder is removed.
#pragma once
#include <functional>

#include "train/run_log.h"
#include "train/zero.h"

namespace puyu {

struct TaskEvalOptions {
  std::vector<std::string> tasks;
  std::string data;
  int64_t every = 0;
  int64_t limit = 200;
  int64_t shots = 5;
  int64_t max_tokens = 64;
  double patience = 7200;
  template <class F>
  void fields(F&& f) {
    f("tasks", tasks, "tasks of 'puyu eval list' that the model is asked during the run; empty = none");
    f("data", data, "folder with the tasks' data");
    f("every", every, "steps between them; 0 = only at the end");
    f("limit", limit, "samples a task, spread evenly over it; 0 = all");
    f("shots", shots, "examples before an exam question, at most 5");
    f("max_tokens", max_tokens, "longest answer in tokens");
    f("patience", patience, "seconds that the other ranks wait for rank 0, who asks");
  }
  bool due(int64_t step, bool last) const { return !tasks.empty() && (last || (every > 0 && step % every == 0)); }
  void validate() const;  // Error naming the field
};

// The scores of a model folder that has a tokenizer.
using Evaluate = std::function<std::vector<TaskScore>(const std::string& model_dir)>;

// By all ranks; the scores are rank 0's. run_dir gets and loses a folder `evaluated`.
std::vector<TaskScore> evaluate_tasks(const TaskEvalOptions& options, const Evaluate& evaluate,
                                      const std::string& run_dir, const std::string& tokenizer, double patience,
                                      Zero& state);

}  // namespace puyu
