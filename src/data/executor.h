// Runs the tasks of a stage: task i is a pure function of files to files that writes atomically and its completion
// marker last, so that a killed run goes on with the tasks that are not done and gives the same bytes. They run on
// a pool of processes of this machine.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace puyu {

struct TaskStage {
  std::string name;
  int64_t count = 0;
  std::function<bool(int64_t)> done;            // is its completion marker there?
  std::function<void(int64_t)> run;             // throws Error
  std::function<int64_t(int64_t)> bytes;        // the size of the work, for rates
  std::function<std::string(int64_t)> subject;  // for messages: "in/books/1.txt … (12 files)"
};

struct StageReport {
  int64_t tasks = 0, bytes = 0;  // run now, not those done before
  double seconds = 0, slowest = 0, mean = 0;
};

// Runs those of `tasks` that are not done, on `workers` processes (one: in this one). A worker that dies (a signal, out
// of memory) is an Error that names its task. Logs rate and skew. Error when interrupted.
StageReport run_tasks(const TaskStage& stage, const std::vector<int64_t>& tasks, int workers);
StageReport run_stage(const TaskStage& stage, int workers);  // all of them

}  // namespace puyu
