#include "train/watch.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace puyu {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const char* name_of(Watch::Part part) {
  switch (part) {
    case Watch::Part::kData:
      return "data";
    case Watch::Part::kRound:
      return "round";
    case Watch::Part::kOptimizer:
      return "optimizer";
    case Watch::Part::kSave:
      return "save";
    case Watch::Part::kEval:
      return "eval";
    case Watch::Part::kNone:
      break;
  }
  return "none";
}

}  // namespace

Watch::Watch(const WatchOptions& options, const std::string& run_dir, int rank,
             std::function<void(const std::string&)> on_limit)
    : options_(options), rank_(rank), on_limit_(std::move(on_limit)) {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  host_ = host;
  if (!run_dir.empty() && options_.heartbeat > 0) heartbeat_ = run_dir + "/heartbeat.json";
  thread_ = std::thread([this] { work(); });
}

Watch::~Watch() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Watch::enter(Part part, int64_t step) {
  const std::lock_guard lock(mutex_);
  part_ = part, step_ = step, since_ = steady_seconds();
}

void Watch::done(int64_t step) {
  const std::lock_guard lock(mutex_);
  done_ = step, done_at_ = static_cast<double>(std::time(nullptr));
}

double Watch::limit() const {
  switch (part_) {
    case Part::kData:
      return options_.data;
    case Part::kRound:
      return options_.round;
    case Part::kOptimizer:
      return options_.optimizer;
    case Part::kSave:
      return options_.save;
    case Part::kEval:
      return options_.eval;
    case Part::kNone:
      break;
  }
  return 0;
}

// Not flushed to the disk: it is about now, and a reader sees the old one or the new one.
void Watch::beat() {
  Json j = Json::object();
  j["pid"] = static_cast<int64_t>(::getpid());
  j["host"] = host_;
  j["time"] = static_cast<int64_t>(std::time(nullptr));
  j["step"] = done_;
  j["step_time"] = done_at_;
  j["part"] = name_of(part_);
  const std::string temp = heartbeat_ + ".tmp";
  bool written = false;
  {
    std::ofstream out(temp, std::ios::trunc);
    written = static_cast<bool>(out << j.dump() << "\n" << std::flush);
  }
  std::error_code ec;
  if (written) std::filesystem::rename(temp, heartbeat_, ec);
  if (written && !ec) return;
  log_warn("[watch] cannot write ", heartbeat_, "; no heartbeat from now on");
  heartbeat_.clear();
}

void Watch::work() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const double now = steady_seconds(), most = limit();
    if (!heartbeat_.empty() && now - beat_at_ >= options_.heartbeat) beat(), beat_at_ = now;
    if (part_ != Part::kNone && most > 0 && now - since_ > most) {
      const std::string what = cat("rank ", rank_, " on ", host_, ": ", name_of(part_), " of step ", step_,
                                   " has taken more than ", most, " s (watch.", name_of(part_), "); the run ends here");
      std::fprintf(stderr, "[watch] %s\n", what.c_str());
      if (on_limit_) on_limit_(what);
      ::_exit(1);  // nothing is half-written: every write is atomic
    }
    wake_.wait_for(lock, std::chrono::milliseconds(200));
  }
  if (!heartbeat_.empty()) beat();
}

}  // namespace puyu
