// Runs tasks over a model and writes what happened:
//   OUT/TASK.samples.jsonl   every sample: what was asked and expected, what came, whether it is right
//   OUT/results.json         every number with its standard error and n, all options; rewritten after each task
//   OUT/results.md           the same as a table
// Samples go to the model in batches, so Ctrl-C ends between two of them; finished tasks are kept.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/score.h"
#include "eval/task.h"
#include "eval/text_table.h"

namespace puyu {

struct RunOptions {
  std::string out;      // folder; empty: nothing is written
  int max_tokens = 64;  // longest answer
  Length length = Length::kBytes;
  int64_t batch = 256;
  Json manifest = Json::object();  // stands in results.json as "run"
};

// A number of a task, over all samples (subject "") or over those of one subject.
struct Result {
  std::string metric, subject;
  Estimate estimate;
};
struct TaskResult {
  std::string name;
  std::vector<Result> results;
  int64_t unanswered = 0;  // kNumber: answers without a number; else empty answers
  double seconds = 0;
};

TaskResult run_task(Generator& model, const EvalTask& task, const RunOptions& options);
std::vector<TaskResult> run_tasks(Generator& model, const std::vector<EvalTask>& tasks, const RunOptions& options);

Json to_json(const std::vector<TaskResult>& results);
// Subjects are listed when a task has at most `max_subjects` of them.
TextTable result_table(const std::vector<TaskResult>& results, size_t max_subjects = 12);

}  // namespace puyu
