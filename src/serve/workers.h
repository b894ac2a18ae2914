// A few threads for what takes a while and is neither the transport's nor the engine's: parsing bodies, tokenising
// prompts, compiling grammars. So a long prompt holds up nobody's stream and nobody's step.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace puyu {

class Workers {
 public:
  explicit Workers(int threads);
  ~Workers();  // waits for what has begun; the rest is dropped
  // Jobs begin in this order. They must not throw. False when `limit` jobs wait already: it was not taken.
  bool post(std::function<void()> job, int64_t limit);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace puyu
