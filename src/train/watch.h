// A thread of each rank that sees whether training moves. Every part of a step has a limit (seconds); a rank that stays
// in one for longer says so with its number, its machine and the part, and ends: the launcher then ends the others. A
// rank that is gone or stands still altogether is named by those that wait for it (comm.h, patience). Rank 0's thread
// also writes the run's heartbeat.json, so that another program can see whether the run lives and how far it is.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace puyu {

struct WatchOptions {
  double data = 1200;
  double round = 3600;
  double optimizer = 1200;
  double save = 3600;
  double eval = 7200;
  double heartbeat = 10;
  template <class F>
  void fields(F&& f) {
    f("data", data, "seconds that reading the data of one step may take before the run is ended; 0 = any");
    f("round", round, "seconds for forward and backward of one micro-batch");
    f("optimizer", optimizer, "seconds for the gradient norm and the optimizer");
    f("save", save, "seconds that training may stand still for a checkpoint");
    f("eval", eval, "seconds for the tasks of eval");
    f("heartbeat", heartbeat, "seconds between updates of heartbeat.json; 0 = none");
  }
};

class Watch {
 public:
  enum class Part { kNone, kData, kRound, kOptimizer, kSave, kEval };
  // run_dir "": no heartbeat. on_limit: told before the process ends (to alert).
  Watch(const WatchOptions& options, const std::string& run_dir, int rank,
        std::function<void(const std::string&)> on_limit = {});
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void enter(Part part, int64_t step);  // of the run's steps, 1 = the first; its time begins
  void done(int64_t step);              // the step is done
  void leave() { enter(Part::kNone, 0); }

 private:
  void work();
  void beat();
  double limit() const;
  WatchOptions options_;
  std::string heartbeat_, host_;
  int rank_;
  std::function<void(const std::string&)> on_limit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  Part part_ = Part::kNone;
  int64_t step_ = 0, done_ = 0;
  double since_ = 0, done_at_ = 0, beat_at_ = 0;  // steady seconds; Unix time; steady seconds
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace puyu
