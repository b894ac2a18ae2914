// The one CPU thread pool is OpenMP's. parallel_for runs fn(i) for i in [0, n); which thread runs which i is not
// defined, so fn must not depend on it. An exception thrown by fn ends the loop early and is rethrown to the caller.
#pragma once
#include <omp.h>

#include <atomic>
#include <cstdint>
#include <exception>

namespace puyu {

inline int num_threads() { return omp_get_max_threads(); }
inline void set_num_threads(int n) { omp_set_num_threads(n < 1 ? 1 : n); }

template <class F>
void parallel_for(int64_t n, F&& fn) {
  if (n <= 1 || num_threads() == 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < n; ++i) fn(i);
    return;
  }
  std::exception_ptr error;
  std::atomic<bool> stop{false};
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < n; ++i) {
    if (stop.load(std::memory_order_relaxed)) continue;
    try {
      fn(i);
    } catch (...) {
      if (!stop.exchange(true)) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace puyu
