// Repeated pieces inside documents that are not duplicates as a whole: lines or paragraphs (boilerplate; CCNet's
// paragraph hashes: case, digits and punctuation do not count) and substrings of at least min_bytes bytes (Lee et al.,
// 2022: 50 tokens or about 100 bytes, found with a suffix array). One copy stays: in the document that the survivor
// rule prefers, at its first place there. So the result does not depend on order or sharding. What is cut out is told
// in the ledger.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dedup.h"
#include "data/funnel.h"

namespace puyu {

struct RepeatOptions {
  std::string unit = "line";
  int64_t min_chars = 20, min_bytes = 100, min_left = 1, memory_mb = 1024;
  int64_t shard_bytes = int64_t{256} << 20;
  std::string survivor = "newest";
  template <class F>
  void fields(F&& f) {
    f("unit", unit, "what is compared: line or paragraph (repeated-lines)");
    f("min_chars", min_chars, "shorter lines and paragraphs, without digits and marks, stay (repeated-lines)");
    f("min_bytes", min_bytes, "shortest substring that is cut (repeated-substrings)");
    f("min_left", min_left, "a document of which fewer bytes are left is dropped");
    f("memory_mb", memory_mb, "memory for sorting; what does not fit is sorted in blocks on disk");
    f("shard_bytes", shard_bytes, "text in one output file");
    f("survivor", survivor, "which document keeps its copy: newest, oldest, longest or smallest_id");
  }
};

// Bytes [from, to) of a document's text that are cut out.
struct Cut {
  int64_t document;
  uint32_t from, to;
  auto operator<=>(const Cut&) const = default;
};

// A corpus's text as one string; document d is [starts[d], starts[d + 1]).
struct TextView {
  std::string_view text;
  const int64_t* starts = nullptr;
  const DedupKey* keys = nullptr;
  int64_t count = 0;
  std::string_view document(int64_t d) const {
    return text.substr(static_cast<size_t>(starts[d]), static_cast<size_t>(starts[d + 1] - starts[d]));
  }
};

// The hash by which lines are compared; 0: too short to be compared.
uint64_t line_hash(std::string_view line, int64_t min_chars);
// Both: sorted, not overlapping. scratch: a folder for what does not fit into memory.
std::vector<Cut> find_repeated_lines(const TextView& corpus, const RepeatOptions& options, const std::string& scratch);
std::vector<Cut> find_repeated_substrings(const TextView& corpus, const RepeatOptions& options,
                                          const std::string& scratch);

// The places sorted by the `depth` bytes of text that follow each (they must be there): the suffix array of the text as
// far as repeats of that length can tell. Equal ones by place. At most 16 bytes a place, and time that no text makes
// quadratic.
void sort_suffixes(std::string_view text, std::vector<uint32_t>& places, size_t depth);

enum class Repeats { kLines, kSubstrings };
// A corpus folder (data/pipeline.h) to another one: stage "repeated_lines" or "repeated_substrings" in funnel and
// ledger.
Funnel remove_repeats(const std::string& corpus_dir, const std::string& out_dir, Repeats what,
                      const RepeatOptions& options);

}  // namespace puyu
