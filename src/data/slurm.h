// The tasks of a pipeline run as Slurm job arrays: a batch script a stage under work/slurm/, each array depending on
// the one before it. Task i of an array of N runs tasks i, i + N, … of its stage through `puyu data task`; what is done
// already is passed over, so a run that was killed, cancelled or out of time goes on when the same command is given
// again. The jobs are found again by their names, which hold the folder and the key of the run, so nothing is lost when
// the command itself is killed at any point. Only the programs sbatch and squeue are used.
#pragma once
#include <string>

#include "data/pipeline.h"

namespace puyu {

struct SlurmOptions {
  int tasks = 16;
  std::string partition, time, memory, extra;
  bool wait = true;
  template <class F>
  void fields(F&& f) {
    f("tasks", tasks, "most tasks of a job array (sites limit it: MaxArraySize)");
    f("partition", partition, "sbatch --partition");
    f("time", time, "sbatch --time of every job");
    f("memory", memory, "sbatch --mem of every task; the search for duplicates takes dedup.memory_mb of it");
    f("extra", extra, "more options of sbatch, separated by spaces");
    f("wait", wait, "wait for the jobs and print the funnel; false: only submit them");
  }
};

// Submits the arrays of what is not done yet, or finds those of this run that are in the queue, and waits. Error when
// the jobs end before the run does: with the stage and its logs. Without waiting the funnel is empty. puyu: the program
// that the jobs start.
Funnel run_on_slurm(const PipelineConfig& config, const std::string& out_dir, const SlurmOptions& options,
                    const std::string& puyu);

// What a job does: tasks index, index + of, … of a stage of the run in out_dir. Error when its input has changed.
void run_stage_part(const std::string& out_dir, const std::string& stage, int64_t index, int64_t of);

}  // namespace puyu
