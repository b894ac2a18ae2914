#include "data/decontaminate.h"

#include <algorithm>

#include "base/rng.h"
#include "data/words.h"

namespace puyu {
namespace {

constexpr std::string_view kMagic = "PUYUBEN1";
constexpr uint64_t kNameBits = 10, kNameMask = (1 << kNameBits) - 1;  // an entry: hash above, benchmark below
constexpr uint64_t kBase = 0x9e3779b97f4a7c15ull;

bool is_ideograph(const Word& w) { return w.chars == 1 && w.text.size() >= 3; }

// Calls fn(hash) for each window of n words that is mostly ideographs, or mostly not. A polynomial hash rolls over the
// words, so a window costs the same for any n.
template <class F>
size_t each_window(const std::vector<Word>& words, size_t n, bool han, F&& fn) {
  if (words.size() < n) return 0;
  uint64_t top = 1, h = 0;
  for (size_t i = 1; i < n; ++i) top *= kBase;
  size_t ideographs = 0, count = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i >= n) h -= words[i - n].hash * top, ideographs -= is_ideograph(words[i - n]);
    h = h * kBase + words[i].hash, ideographs += is_ideograph(words[i]);
    if (i + 1 >= n && (ideographs * 2 > n) == han) fn(mix64(h + n) & ~kNameMask), ++count;
  }
  return count;
}

}  // namespace

BenchmarkCounts build_benchmarks(const std::vector<BenchmarkText>& texts, const std::string& out) {
  BenchmarkCounts counts;
  std::vector<std::string> names;
  std::vector<uint64_t> entries;
  for (const BenchmarkText& t : texts) {
    auto id = static_cast<uint64_t>(std::find(names.begin(), names.end(), t.benchmark) - names.begin());
    if (id == names.size()) names.push_back(t.benchmark);
    if (id > kNameMask) fail("[data] more than ", kNameMask + 1, " benchmarks");
    std::vector<Word> words = split_words(t.text);
    auto add = [&](uint64_t hash) { entries.push_back(hash | id); };
    size_t n = each_window(words, kWordWindow, false, add) + each_window(words, kHanWindow, true, add);
    ++counts.texts, counts.too_short += n == 0;
  }
  // A window in several benchmarks counts for the first.
  std::sort(entries.begin(), entries.end());
  entries.erase(
      std::unique(entries.begin(), entries.end(), [](uint64_t a, uint64_t b) { return (a ^ b) <= kNameMask; }),
      entries.end());
  if (entries.empty())
    fail("[data] none of ", texts.size(), " benchmark texts has a window of ", kWordWindow, " words or ", kHanWindow,
         " ideographs");
  counts.windows = static_cast<int64_t>(entries.size());
  uint64_t bits = 4;
  while ((uint64_t{1} << bits) < entries.size() * 2) ++bits;
  std::vector<uint64_t> table(size_t{1} << bits);
  for (uint64_t e : entries) {
    uint64_t at = e >> (64 - bits);
    while (table[at]) at = (at + 1) & (table.size() - 1);
    table[at] = e;
  }
  SealedWriter file(out, kMagic, 1);
  for (const std::string& name : names) file.write(name + "\n");
  uint64_t name_bytes = file.bytes();
  file.pad();
  file.write_values(table.data(), table.size());
  file.commit({bits, entries.size(), name_bytes, names.size()});
  return counts;
}

BenchmarkWindows::BenchmarkWindows(const std::string& path) : file_(path, kMagic, 1, "puyu data benchmarks") {
  uint64_t bits = file_.field(0), entries = file_.field(1), name_bytes = file_.field(2), used = 0;
  std::string_view body = file_.body();
  if (bits < 4 || bits > 40 || name_bytes > body.size() ||
      (name_bytes + 7) / 8 * 8 + (uint64_t{8} << bits) != body.size())
    file_.damaged("its parts do not add up to its size");
  for (std::string_view rest = body.substr(0, name_bytes); !rest.empty();) {
    size_t end = std::min(rest.find('\n'), rest.size() - 1);
    names_.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  bits_ = static_cast<int>(bits), table_ = body.data() + (name_bytes + 7) / 8 * 8;
  for (uint64_t i = 0; i < (uint64_t{1} << bits); ++i)
    if (auto e = load_at<uint64_t>(table_ + i * 8)) {
      ++used;
      if ((e & kNameMask) >= names_.size()) file_.damaged("an entry names no benchmark");
    }
  if (used != entries || used > (uint64_t{1} << bits) / 2) file_.damaged("its table is too full");
}

BenchmarkWindows::Hit BenchmarkWindows::find(std::string_view text) const {
  std::vector<int64_t> hits(names_.size());
  const uint64_t mask = (uint64_t{1} << bits_) - 1;
  auto look_up = [&](uint64_t hash) {
    for (uint64_t at = hash >> (64 - bits_);; at = (at + 1) & mask) {
      auto e = load_at<uint64_t>(table_ + at * 8);
      if (e == 0) return;
      if ((e ^ hash) <= kNameMask) {
        ++hits[e & kNameMask];
        return;
      }
    }
  };
  std::vector<Word> words = split_words(text);
  each_window(words, kWordWindow, false, look_up);
  each_window(words, kHanWindow, true, look_up);
  auto most = std::max_element(hits.begin(), hits.end());
  return *most ? Hit{names_[static_cast<size_t>(most - hits.begin())], *most} : Hit{};
}

}  // namespace puyu
