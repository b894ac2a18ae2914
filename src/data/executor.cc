#include "data/executor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// What the workers and the pool share: one anonymous mapping, so nothing of it outlives them.
struct Shared {
  std::atomic<int64_t> next{0}, bytes{0}, finished{0};
  std::atomic<bool> stop{false};
  std::atomic<int64_t> slowest_us{0}, total_us{0};
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

class Mapping {
 public:
  explicit Mapping(size_t workers) : size_(sizeof(Shared) + workers * sizeof(std::atomic<int64_t>)) {
    data_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) fail("[data] no memory to share with the workers: ", std::strerror(errno));
    new (data_) Shared;
    for (size_t w = 0; w < workers; ++w) new (&current(w)) std::atomic<int64_t>(-1);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { munmap(data_, size_); }
  Shared& shared() { return *static_cast<Shared*>(data_); }
  std::atomic<int64_t>& current(size_t worker) {
    return reinterpret_cast<std::atomic<int64_t>*>(static_cast<char*>(data_) + sizeof(Shared))[worker];
  }

 private:
  size_t size_;
  void* data_;
};

// Takes tasks until there are none.
void work(const TaskStage& stage, const std::vector<int64_t>& todo, Shared& s, std::atomic<int64_t>& current) {
  while (!s.stop && !interrupted()) {
    int64_t at = s.next++;
    if (at >= static_cast<int64_t>(todo.size())) return;
    int64_t task = todo[static_cast<size_t>(at)];
    current = task;
    auto start = Clock::now();
    stage.run(task);
    if (interrupted()) return;  // it may have left in the middle
    auto us = static_cast<int64_t>(seconds_since(start) * 1e6);
    s.total_us += us;
    for (int64_t most = s.slowest_us; us > most && !s.slowest_us.compare_exchange_weak(most, us);) {}
    s.bytes += stage.bytes(task);
    ++s.finished;
    current = -1;
  }
}

class Pool {
 public:
  Pool(const TaskStage& stage, const std::vector<int64_t>& todo, int workers, Progress& progress)
      : stage_(stage), todo_(todo), map_(static_cast<size_t>(workers)), progress_(progress) {
    if (pipe2(pipe_, O_CLOEXEC) != 0) fail("[data] pipe: ", std::strerror(errno));
    for (int w = 0; w < workers; ++w) start(static_cast<size_t>(w));
    close(pipe_[1]);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    map_.shared().stop = true;
    for (pid_t& pid : pids_)
      if (pid > 0) waitpid(pid, nullptr, 0);
    close(pipe_[0]);
  }
  void wait() {
    for (bool open = true; open;) {
      pollfd p{pipe_[0], POLLIN, 0};
      if (poll(&p, 1, 200) > 0) {
        char piece[4096];
        ssize_t n = read(pipe_[0], piece, sizeof piece);
        if (n > 0) error_.append(piece, static_cast<size_t>(n));
        open = n > 0;  // the last writer is gone
      }
      int64_t bytes = map_.shared().bytes;
      progress_.add(bytes - shown_);
      shown_ = bytes;
      reap(WNOHANG);
    }
    reap(0);
    if (!error_.empty()) throw Error(error_.substr(0, error_.find('\0')));
  }
  Shared& shared() { return map_.shared(); }

 private:
  void start(size_t w) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) fail("[data] fork: ", std::strerror(errno));
    if (pid > 0) {
      pids_.push_back(pid);
      return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // no worker outlives the run
    if (getppid() != parent) _exit(1);
    set_num_threads(1);
    int rc = 0;
    try {
      work(stage_, todo_, map_.shared(), map_.current(w));
    } catch (const std::exception& e) {
      map_.shared().stop = true;
      std::string text = e.what() + std::string(1, '\0');
      rc = write(pipe_[1], text.data(), std::min<size_t>(text.size(), 4000)) > 0 ? 1 : 2;
    }
    _exit(rc);
  }
  void reap(int flags) {
    for (size_t w = 0; w < pids_.size(); ++w) {
      int status = 0;
      if (pids_[w] <= 0 || waitpid(pids_[w], &status, flags) != pids_[w]) continue;
      pids_[w] = 0;
      if (!WIFSIGNALED(status)) continue;
      map_.shared().stop = true;
      int64_t task = map_.current(w);
      if (error_.empty())
        error_ = cat("[data] a worker of stage ", stage_.name, " was killed by signal ", WTERMSIG(status), " (",
                     strsignal(WTERMSIG(status)), ")",
                     task >= 0 ? cat(" at task ", task, ": ", stage_.subject(task)) : std::string());
    }
  }
  const TaskStage& stage_;
  const std::vector<int64_t>& todo_;
  Mapping map_;
  Progress& progress_;
  int pipe_[2] = {-1, -1};
  std::vector<pid_t> pids_;
  std::string error_;
  int64_t shown_ = 0;
};

StageReport report_of(const Shared& s, double seconds) {
  StageReport r{s.finished, s.bytes, seconds, static_cast<double>(s.slowest_us) / 1e6, 0};
  if (r.tasks) r.mean = static_cast<double>(s.total_us) / 1e6 / static_cast<double>(r.tasks);
  return r;
}

}  // namespace

StageReport run_tasks(const TaskStage& stage, const std::vector<int64_t>& tasks, int workers) {
  std::vector<int64_t> todo;
  int64_t bytes = 0;
  for (int64_t task : tasks)
    if (!stage.done(task)) todo.push_back(task), bytes += stage.bytes(task);
  if (todo.size() < tasks.size())
    log_info("data: ", stage.name, ": ", tasks.size() - todo.size(), " of ", tasks.size(), " tasks are done already");
  if (todo.empty()) return {};
  Progress progress(stage.name, bytes, "B");
  auto start = Clock::now();
  StageReport r;
  workers = static_cast<int>(std::min<size_t>(static_cast<size_t>(std::max(1, workers)), todo.size()));
  if (workers == 1) {
    Shared s;
    std::atomic<int64_t> current{-1};
    TaskStage counted = stage;
    counted.bytes = [&](int64_t i) {
      progress.add(stage.bytes(i));
      return stage.bytes(i);
    };
    work(counted, todo, s, current);
    r = report_of(s, seconds_since(start));
  } else {
    Pool pool(stage, todo, workers, progress);
    pool.wait();
    r = report_of(pool.shared(), seconds_since(start));
  }
  progress.finish();
  if (interrupted()) fail("[data] interrupted; the same command goes on where it stopped");
  if (r.tasks != static_cast<int64_t>(todo.size()))
    fail("[data] stage ", stage.name, ": ", r.tasks, " of ", todo.size(), " tasks ended; run again to go on");
  char skew[96] = "";
  if (r.tasks > 1 && r.mean > 0)
    std::snprintf(skew, sizeof skew, "; slowest task %.2f s, %.1f times the mean", r.slowest, r.slowest / r.mean);
  log_info("data: ", stage.name, ": ", r.tasks, r.tasks == 1 ? " task, " : " tasks, ",
           format_count(static_cast<double>(r.bytes), "B"), " in ", format_duration(r.seconds), ", ",
           format_count(static_cast<double>(r.bytes) / std::max(r.seconds, 1e-3), "B/s"), skew);
  return r;
}

StageReport run_stage(const TaskStage& stage, int workers) {
  std::vector<int64_t> all(static_cast<size_t>(stage.count));
  std::iota(all.begin(), all.end(), 0);
  return run_tasks(stage, all, workers);
}

}  // namespace puyu
