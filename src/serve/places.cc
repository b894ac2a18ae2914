#include "serve/places.h"

#include <algorithm>
#include <cmath>

#include "serve/fields.h"

namespace puyu {
namespace {

constexpr size_t kRemembered = 64;
constexpr int kLongest = 3600;  // seconds

}  // namespace

std::shared_ptr<void> Places::take(int64_t n) {
  if (n > std::max<int64_t>(limit_, 1))
    throw ApiError(400, cat("the request asks for ", n, " answers, the queue of this server holds ", limit_), "n");
  std::lock_guard lock(mutex_);
  if (taken_ + n > limit_) {
    ApiError e(429, cat("the queue of ", limit_, " answers is full; try again"), "", "queue_full");
    e.retry_after = seconds_until(taken_ + n - limit_);
    throw e;
  }
  if (taken_ == 0) busy_since_ = now_(), ends_.clear();
  taken_ += n;
  return {nullptr, [this, n](void*) { give_back(n); }};
}

int64_t Places::taken() const {
  std::lock_guard lock(mutex_);
  return taken_;
}

void Places::give_back(int64_t n) {
  std::lock_guard lock(mutex_);
  taken_ -= n;
  ends_.push_back({now_(), n});
  if (ends_.size() > kRemembered) ends_.pop_front();
}

// At the rate of the last ends. As long as nothing has ended, what is in work is taken to be half done.
int Places::seconds_until(int64_t free) const {
  const bool all = ends_.size() < kRemembered;
  const Clock::time_point from = all ? busy_since_ : ends_.front().when;
  int64_t ended = 0;
  for (size_t i = all ? 0 : 1; i < ends_.size(); ++i) ended += ends_[i].places;
  const double elapsed = taken_ == 0 ? 0 : std::chrono::duration<double>(now_() - from).count();
  const double wait = elapsed / static_cast<double>(std::max<int64_t>(ended, 1)) * static_cast<double>(free);
  return static_cast<int>(std::clamp(std::ceil(wait), 1.0, static_cast<double>(kLongest)));
}

}  // namespace puyu
