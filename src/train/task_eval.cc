#include "train/task_eval.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "train/checkpoint.h"
#include "train/state_files.h"

namespace puyu {

void TaskEvalOptions::validate() const {
  for (auto [name, v] : {std::pair{"every", every}, {"limit", limit}, {"shots", shots}})
    if (v < 0) fail("[train] eval.", name, ": expected 0 or more, got ", v);
  if (max_tokens < 1) fail("[train] eval.max_tokens: expected 1 or more, got ", max_tokens);
  if (!(patience > 0)) fail("[train] eval.patience: expected a positive number, got ", patience);
  if (!tasks.empty() && data.empty()) fail("[train] eval.tasks are set; name the folder of their data in eval.data");
  if (tasks.empty() && every > 0) fail("[train] eval.every is set, but no eval.tasks");
}

std::vector<TaskScore> evaluate_tasks(const TaskEvalOptions& options, const Evaluate& evaluate,
                                      const std::string& run_dir, const std::string& tokenizer, double patience,
                                      Zero& state) {
  Comm& comm = state.comm();
  const std::string dir = run_dir + "/evaluated";
  std::vector<TaskScore> out;
  write_model_folder(dir, state, state.weights().compute);
  comm.set_patience(std::max(patience, options.patience));
  together(comm, [&] {
    if (comm.rank() != 0) return;
    copy_tokenizer(tokenizer, dir);
    out = evaluate(dir);
  });
  comm.set_patience(patience);
  std::error_code ec;
  if (comm.rank() == 0) std::filesystem::remove_all(dir, ec);
  return out;
}

}  // namespace puyu
