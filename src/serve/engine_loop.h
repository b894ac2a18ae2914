// The engine's thread: runs what is posted to it between steps, and steps while there is work.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/engine.h"

namespace puyu {

class EngineLoop {
 public:
  explicit EngineLoop(Engine& engine) : engine_(engine), thread_([this] { loop(); }) {}
  ~EngineLoop();
  void post(std::function<void()> job);  // an empty job ends the loop

 private:
  void loop();

  Engine& engine_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::thread thread_;
};

}  // namespace puyu
