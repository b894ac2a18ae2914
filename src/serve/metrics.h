// What a server counts, in Prometheus' text format (0.0.4). An "answer" is one choice of a request. Times start when
// the request has arrived whole. watch() and page() are called on the engine's thread, refused() on any.
#pragma once
#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include "engine/engine.h"

namespace puyu {

class Histogram {
 public:
  void add(double seconds);
  void print(const std::string& name, const std::string& help, std::string& to) const;

 private:
  // Upper bounds in seconds; from one decoding step of a small model to a long answer of a large one.
  static constexpr std::array<double, 16> kBounds = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                     1,     2.5,   5,    10,    30,   60,  120,  600};
  std::array<int64_t, kBounds.size() + 1> counts_ = {};
  double sum_ = 0;
};

class Metrics {
 public:
  using Clock = std::chrono::steady_clock;
  // Wraps the request's callbacks: its tokens and times are counted.
  void watch(Request& q, Clock::time_point arrival);
  void refused(int status);  // answered with an error before any work
  std::string page(const Engine& engine, int64_t pending) const;

 private:
  std::map<std::string, int64_t> finished_;  // by reason
  int64_t prompt_tokens_ = 0, answer_tokens_ = 0;
  Histogram queue_, first_token_, per_token_, whole_;
  mutable std::mutex mutex_;
  std::map<int, int64_t> refused_;
};

}  // namespace puyu
