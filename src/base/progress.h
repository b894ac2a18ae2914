// A progress line for long work: "tokenize  ██████░░░░  61 %  12.3 MB/s  ETA 0:41". A bar that redraws in place on a
// terminal, a plain line every few seconds elsewhere. Thread-safe; drawing is rate-limited, so add() is cheap.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace puyu {

class Progress {
 public:
  // total <= 0: unknown, no percentage or ETA. unit: what is counted, e.g. "tok", "B" (bytes are scaled to kB, MB …).
  Progress(std::string name, int64_t total, std::string unit);
  ~Progress();
  void add(int64_t n);
  void note(std::string text);  // shown at the end of the line, e.g. "loss 3.21"
  void finish();                // draws the last state and ends the line; the destructor does it too
 private:
  struct State;
  std::unique_ptr<State> s_;
};

std::string format_count(double n, const std::string& unit);  // "12.3 MB", "4.1k tok"
std::string format_duration(double seconds);                  // "0:41", "1:02:03"

}  // namespace puyu
