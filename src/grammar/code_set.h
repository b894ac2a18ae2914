// Sets of Unicode characters, and how they look in UTF-8: a character class of a grammar or a regular expression
// becomes sequences of byte ranges. Surrogates belong to no set.
#pragma once
#include <cstdint>
#include <vector>

namespace puyu::grammar {

struct CodeRange {
  char32_t low = 0, high = 0;  // both belong to it
  auto operator<=>(const CodeRange&) const = default;
};
struct ByteRange {
  uint8_t low = 0, high = 0;
};

class CodeSet {
 public:
  CodeSet() = default;
  CodeSet(std::initializer_list<CodeRange> ranges) : ranges_(ranges) {}
  void add(char32_t low, char32_t high) { ranges_.push_back({low, high}); }
  void add(const CodeSet& other) { ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end()); }
  std::vector<CodeRange> ranges() const;  // sorted, disjoint, without surrogates
  CodeSet complement() const;
  CodeSet minus(const CodeSet& other) const;
  bool contains(char32_t c) const;
  bool empty() const { return ranges().empty(); }

 private:
  std::vector<CodeRange> ranges_;
};

inline const CodeSet kAnyCode{{0, 0x10FFFF}};

// Every character of the set is one path through one of these; at most a few sequences for each range.
std::vector<std::vector<ByteRange>> utf8_sequences(const CodeSet& set);

}  // namespace puyu::grammar
