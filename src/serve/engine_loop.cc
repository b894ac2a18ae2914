#include "serve/engine_loop.h"

#include "base/log.h"

namespace puyu {

EngineLoop::~EngineLoop() {
  post({});
  thread_.join();
}

void EngineLoop::post(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void EngineLoop::loop() {
  for (bool idle = true;;) {
    std::deque<std::function<void()>> jobs;
    {
      std::unique_lock lock(mutex_);
      if (idle) wake_.wait(lock, [this] { return !jobs_.empty(); });
      jobs.swap(jobs_);
    }
    for (auto& job : jobs) {
      if (!job) return;
      job();
    }
    try {
      idle = !engine_.step();
    } catch (const std::exception& e) {  // memory, most likely: what runs cannot go on, what comes may
      log_error("[serve] a step failed, its requests are ended: ", e.what());
      engine_.abort_all();
    }
  }
}

}  // namespace puyu
