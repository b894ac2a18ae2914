// Words as the filters and the duplicate search see them: a run of letters, digits and underscores, or one ideograph.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace puyu {

struct Word {
  std::string_view text;  // a view into the document
  uint64_t hash = 0;      // of the text in lower case (ASCII)
  uint32_t chars = 0;
  bool has_letter = false;
};

std::vector<Word> split_words(std::string_view text);
bool same_ignoring_case(std::string_view a, std::string_view b);  // ASCII

}  // namespace puyu
