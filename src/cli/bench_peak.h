// What this machine can do at most, measured: arithmetic in registers without memory traffic, and reading from memory
// in long streams. The limits that every other speed is a share of.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace puyu {

struct Spread {
  double median = 0, low = 0, high = 0;
};
// The spread of `rounds` values of f().
Spread spread_of(std::vector<double> values);
Spread measure(int rounds, const std::function<double()>& f);

struct Limit {
  std::string name;  // "f32", "bf16", "int8", "read"
  std::string how;   // "AVX-512 FMA", "AMX tiles", …
  int threads = 1;
  std::string unit;  // "FLOP/s", "op/s", "B/s"
  Spread rate;
};
// Each kind of arithmetic this machine's CPU has, with one thread and with all.
std::vector<Limit> measure_arithmetic(int rounds);
std::vector<Limit> measure_reading(int rounds);
// The fastest of a kind with all threads; null when it was not measured.
const Limit* best_limit(const std::vector<Limit>& limits, const std::string& name);

}  // namespace puyu
