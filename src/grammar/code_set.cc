#include "grammar/code_set.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"

namespace puyu::grammar {

std::vector<CodeRange> CodeSet::ranges() const {
  std::vector<CodeRange> sorted;
  for (const CodeRange& r : ranges_) {
    const char32_t high = std::min<char32_t>(r.high, 0x10FFFF);
    if (r.low > high) continue;
    if (r.low < 0xD800) sorted.push_back({r.low, std::min<char32_t>(high, 0xD7FF)});
    if (high > 0xDFFF) sorted.push_back({std::max<char32_t>(r.low, 0xE000), high});
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<CodeRange> out;
  for (const CodeRange& r : sorted) {
    if (!out.empty() && r.low <= out.back().high + 1)
      out.back().high = std::max(out.back().high, r.high);
    else
      out.push_back(r);
  }
  return out;
}

CodeSet CodeSet::complement() const {
  CodeSet out;
  char32_t next = 0;
  for (const CodeRange& r : ranges()) {
    if (r.low > next) out.add(next, r.low - 1);
    next = r.high + 1;
  }
  if (next <= 0x10FFFF) out.add(next, 0x10FFFF);
  return out;
}

CodeSet CodeSet::minus(const CodeSet& other) const {
  CodeSet gone = complement();
  gone.add(other);
  return gone.complement();
}

bool CodeSet::contains(char32_t c) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const CodeRange& r) { return r.low <= c && c <= r.high; });
}

namespace {

// Cuts until both ends have the same length and differ only where every following byte runs from 80 to BF.
void split(char32_t low, char32_t high, std::vector<std::vector<ByteRange>>& out) {
  auto cut = [&](char32_t at) { split(low, at, out), split(at + 1, high, out); };
  for (char32_t end : {0x7Fu, 0x7FFu, 0xFFFFu})
    if (low <= end && end < high) return cut(end);
  for (int i = 1; i < 4 && high > 0x7F; ++i) {
    const char32_t tail = (char32_t{1} << (6 * i)) - 1;
    if ((low & ~tail) == (high & ~tail)) break;
    if ((low & tail) != 0) return cut(low | tail);
    if ((high & tail) != tail) return cut((high & ~tail) - 1);
  }
  std::string a, b;
  append_utf8(a, low), append_utf8(b, high);
  std::vector<ByteRange> bytes;
  for (size_t i = 0; i < a.size(); ++i) bytes.push_back({static_cast<uint8_t>(a[i]), static_cast<uint8_t>(b[i])});
  out.push_back(std::move(bytes));
}

}  // namespace

std::vector<std::vector<ByteRange>> utf8_sequences(const CodeSet& set) {
  std::vector<std::vector<ByteRange>> out;
  for (const CodeRange& r : set.ranges()) split(r.low, r.high, out);
  return out;
}

}  // namespace puyu::grammar
