// Keeping benchmarks out of training text: a document that shares 13 words in a row (in Chinese 50 ideographs, as
// words.h counts) with a benchmark's questions or answers is dropped or reported. Case, spaces and punctuation do not
// matter. The benchmarks' windows are gathered once by 'puyu data benchmarks' into a mapped hash table.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sealed_file.h"

namespace puyu {

constexpr size_t kWordWindow = 13, kHanWindow = 50;

struct DecontaminateOptions {
  std::string benchmarks, action = "drop";
  int64_t min_windows = 1;
  template <class F>
  void fields(F&& f) {
    f("benchmarks", benchmarks, "made by 'puyu data benchmarks'");
    f("action", action, "drop, or report: only say so in the ledger");
    f("min_windows", min_windows, "windows shared with one benchmark that are too many");
  }
};

struct BenchmarkText {
  std::string benchmark, text;
};
struct BenchmarkCounts {
  int64_t texts = 0, windows = 0;
  int64_t too_short = 0;  // texts without a whole window: they are not found
};
BenchmarkCounts build_benchmarks(const std::vector<BenchmarkText>& texts, const std::string& out);

class BenchmarkWindows {
 public:
  explicit BenchmarkWindows(const std::string& path);
  struct Hit {
    std::string_view benchmark;
    int64_t windows = 0;
  };
  Hit find(std::string_view text) const;  // the benchmark with the most windows; 0 windows: none
  const std::vector<std::string>& benchmarks() const { return names_; }
  uint64_t checksum() const { return file_.checksum(); }

 private:
  SealedFile file_;
  std::vector<std::string> names_;
  int bits_ = 0;
  const char* table_ = nullptr;
};

}  // namespace puyu
