// The bounded queue: every answer that is in work or waits holds a place, each choice of a request its own. Who finds
// none is told when to come again, from the rate at which places came free lately.
#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace puyu {

class Places {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Places(int64_t limit, std::function<Clock::time_point()> now = Clock::now)
      : limit_(limit), now_(std::move(now)) {}

  // `n` places until the last copy of what comes back is gone; Places must outlive it. ApiError 429 when so many are
  // not free, 400 when there never are.
  std::shared_ptr<void> take(int64_t n);
  int64_t taken() const;

 private:
  void give_back(int64_t n);
  int seconds_until(int64_t free) const;

  const int64_t limit_;
  std::function<Clock::time_point()> now_;
  mutable std::mutex mutex_;
  int64_t taken_ = 0;
  Clock::time_point busy_since_ = {};  // nobody held a place before
  struct End {
    Clock::time_point when;
    int64_t places;
  };
  std::deque<End> ends_;  // the last ones since busy_since_
};

}  // namespace puyu
