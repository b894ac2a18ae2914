// The tasks that `puyu train` asks its model during a run (option eval).
#pragma once
#include "train/task_eval.h"

namespace puyu {

// Loads the tasks at once, so that what is unknown or missing is said before the first step.
Evaluate make_evaluate(const TaskEvalOptions& options, const std::string& tokenizer);

}  // namespace puyu
