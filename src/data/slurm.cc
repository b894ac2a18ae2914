#include "data/slurm.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/program.h"
#include "base/progress.h"
#include "base/signal.h"
#include "data/pipeline_run.h"

namespace puyu {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kMostFailures = 60;  // of squeue, one after another

struct Job {
  std::string id;
  size_t stage = 0;  // index in kStageNames
};

std::string quoted(const std::string& s) {
  std::string out = "'";
  for (char c : s) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Jobs are named puyu-FOLDER-KEY-STAGE.
std::string folder_prefix(const Run& run) { return cat("puyu-", hex64(hash64(run.dir)), "-"); }
std::string job_name(const Run& run, size_t stage) { return cat(folder_prefix(run), run.key, "-", kStageNames[stage]); }

ProgramResult run_slurm(const std::vector<std::string>& argv) {
  ProgramResult r = run_program(argv);
  if (r.status == 127)
    fail("[slurm] ", argv[0], " cannot be started: install Slurm's clients (slurm-client), or use --executor=local");
  return r;
}

// This run's jobs that wait or run, by stage. False (with a warning) when squeue does not answer.
bool find_jobs(const Run& run, std::vector<Job>& jobs) {
  jobs.clear();
  ProgramResult r = run_slurm({"squeue", "--me", "--noheader", "--format=%F %j"});
  if (r.status != 0) {
    log_warn("slurm: squeue failed: ", r.complaint);
    return false;
  }
  std::istringstream lines(r.out);
  for (std::string id, name; lines >> id >> name;) {
    if (!name.starts_with(folder_prefix(run))) continue;
    size_t stage = 0;
    while (stage < std::size(kStageNames) && name != job_name(run, stage)) ++stage;
    if (stage == std::size(kStageNames))
      fail("[slurm] job ", id, " works in ", run.dir,
           " for another configuration or other input; end it with 'scancel ", id, "' or name another --out");
    if (std::none_of(jobs.begin(), jobs.end(), [&](const Job& j) { return j.id == id; })) jobs.push_back({id, stage});
  }
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.stage < b.stage; });
  return true;
}

bool is_finished(const Run& run) {
  std::string marker = run.dir + "/run.json";
  return file_exists(marker) && Json::parse(read_file(marker), marker).get("key", std::string()) == run.key;
}

// The tasks of a stage that are not done. How many `write` has is known after `clusters` only.
std::vector<int64_t> open_tasks(const Run& run, const std::string& stage) {
  std::vector<int64_t> out;
  if (stage == "write" && !stage_tasks(run, "clusters").done(0)) return {0};
  TaskStage tasks = stage_tasks(run, stage);
  for (int64_t i = 0; i < tasks.count; ++i)
    if (!tasks.done(i)) out.push_back(i);
  return out;
}

size_t first_open_stage(const Run& run) {
  size_t stage = 0;
  while (stage + 1 < std::size(kStageNames) && open_tasks(run, kStageNames[stage]).empty()) ++stage;
  return stage;
}

int64_t array_size(const Run& run, const std::string& stage, int64_t most) {
  return stage == "write" ? most : std::min(most, stage_tasks(run, stage).count);
}

std::string script_of(const Run& run, size_t stage, int64_t tasks, const SlurmOptions& o, const std::string& puyu) {
  std::string out = cat("#!/bin/bash\n#SBATCH --job-name=", job_name(run, stage), "\n#SBATCH --array=0-", tasks - 1,
                        "\n#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=1\n");
  if (!o.partition.empty()) out += "#SBATCH --partition=" + o.partition + "\n";
  if (!o.time.empty()) out += "#SBATCH --time=" + o.time + "\n";
  if (!o.memory.empty()) out += "#SBATCH --mem=" + o.memory + "\n";
  return out + cat("exec ", quoted(puyu), " data task ", quoted(run.dir), " ", kStageNames[stage],
                   " --index=\"$SLURM_ARRAY_TASK_ID\" --of=", tasks, "\n");
}

std::string logs_of(const Run& run, size_t stage, const char* task) {
  return cat(run.dir, "/work/slurm/", kStageNames[stage], "-", task, ".log");
}

// One array, after the job `before` ("": at once).
std::string submit(const Run& run, size_t stage, int64_t tasks, const std::string& before, const SlurmOptions& o,
                   const std::string& puyu) {
  std::string script = cat(run.dir, "/work/slurm/", kStageNames[stage], ".sh");
  write_file(script, script_of(run, stage, tasks, o, puyu));
  std::vector<std::string> argv = {"sbatch",
                                   "--parsable",
                                   "--kill-on-invalid-dep=yes",
                                   "--open-mode=append",
                                   "--output=" + logs_of(run, stage, "%a"),
                                   "--chdir=" + fs::current_path().string()};
  if (!before.empty()) argv.push_back("--dependency=afterok:" + before);
  std::istringstream extra(o.extra);
  for (std::string word; extra >> word;) argv.push_back(word);
  argv.push_back(script);
  ProgramResult r = run_slurm(argv);
  std::string id = r.out.substr(0, r.out.find_first_of(";\n"));  // "id" or "id;cluster"
  if (r.status != 0 || id.empty()) fail("[slurm] sbatch ", script, " failed: ", r.complaint);
  log_info("slurm: ", kStageNames[stage], ": job ", id, ", an array of ", tasks);
  return id;
}

// The stages that have no job yet. Jobs are submitted in order, so that those in the queue are a chain without gaps.
void submit_missing(const Run& run, std::vector<Job>& jobs, const SlurmOptions& o, const std::string& puyu) {
  for (size_t stage = jobs.empty() ? first_open_stage(run) : jobs.back().stage + 1; stage < std::size(kStageNames);
       ++stage) {
    const int64_t tasks = array_size(run, kStageNames[stage], o.tasks);
    if (tasks == 0) continue;
    jobs.push_back({submit(run, stage, tasks, jobs.empty() ? "" : jobs.back().id, o, puyu), stage});
  }
}

// Shows the progress of one stage after another until no job of the run is left in the queue.
void watch(const Run& run) {
  std::vector<Job> jobs;
  std::unique_ptr<Progress> progress;
  std::vector<int64_t> open;
  size_t stage = std::size(kStageNames);
  for (int failures = 0;;) {
    auto start = Clock::now();
    if (!is_finished(run)) {
      std::vector<int64_t> before = std::move(open);
      size_t now = first_open_stage(run);
      open = open_tasks(run, kStageNames[now]);
      if (now != stage) {
        progress = std::make_unique<Progress>(kStageNames[now], static_cast<int64_t>(open.size()), "tasks");
        stage = now, before = open;
      }
      progress->add(static_cast<int64_t>(before.size()) - static_cast<int64_t>(open.size()));
    }
    const auto looking = Clock::now() - start;
    if (!find_jobs(run, jobs)) {
      if (++failures == kMostFailures) fail("[slurm] squeue does not answer; the same command waits again");
    } else if (failures = 0; jobs.empty()) {
      return;
    }
    if (interrupted())
      fail("[slurm] interrupted; the jobs go on (scancel ends them), the same command waits for them again");
    // Looking at the markers must not become the main work of a shared disk.
    std::this_thread::sleep_for(std::clamp<Clock::duration>(10 * looking, milliseconds(500), std::chrono::seconds(30)));
  }
}

}  // namespace

Funnel run_on_slurm(const PipelineConfig& config, const std::string& out_dir, const SlurmOptions& options,
                    const std::string& puyu) {
  if (options.tasks < 1) fail("[slurm] slurm.tasks must be at least 1, got ", options.tasks);
  Run run = open_run(config, fs::absolute(out_dir).lexically_normal().string());
  std::vector<Job> jobs;
  if (!find_jobs(run, jobs)) fail("[slurm] squeue does not answer; see 'sinfo'");
  // Jobs of an earlier command may end without having finished the run: then there is one more chain.
  for (bool found = !jobs.empty(), again = true; again && !is_finished(run); again = found, found = false) {
    if (found)
      log_info("slurm: jobs of this run are in the queue already: ", jobs.front().id, " to ", jobs.back().id);
    else
      prepare_folder(run);  // not while jobs write there
    make_directories(run.dir + "/work/slurm");
    submit_missing(run, jobs, options, puyu);
    if (!options.wait) return {};
    watch(run);
    jobs.clear();
  }
  if (!is_finished(run)) {
    std::this_thread::sleep_for(std::chrono::seconds(2));  // what was written last may be late on a shared disk
    const size_t stage = first_open_stage(run);
    if (!is_finished(run))
      fail("[slurm] the jobs ended before stage ", kStageNames[stage], " was done; see ", logs_of(run, stage, "*"),
           "; the same command goes on where they stopped");
  }
  if (!jobs.empty()) watch(run);  // the last job has written everything and is about to end
  fs::remove_all(run.dir + "/work");
  return read_funnel(run);
}

void run_stage_part(const std::string& out_dir, const std::string& stage, int64_t index, int64_t of) {
  if (of < 1 || index < 0 || index >= of) fail("[data] expected an index from 0 to ", of - 1, ", got ", index);
  std::string plan = out_dir + "/work/plan.json", toml = out_dir + "/work/config.toml";
  PipelineConfig config;
  load_config(config, read_file(toml), toml);
  Run run = open_run(config, out_dir);
  if (Json::parse(read_file(plan), plan).get("key", std::string()) != run.key)
    fail("[data] ", out_dir, ": the input has changed since this run was started; start it again");
  TaskStage tasks = stage_tasks(run, stage);
  std::vector<int64_t> mine;
  for (int64_t i = index; i < tasks.count; i += of) mine.push_back(i);
  run_tasks(tasks, mine, 1);
}

}  // namespace puyu
