// Where text falls apart for a vocabulary whose pieces are bytes (hf_bpe.h): between two characters that no piece
// reaches across, be it with whole characters or with parts of them. Each part is encoded alone, which changes no id,
// since joins only ever make pieces. For src/text/ only.
#pragma once
#include <bitset>
#include <string_view>

#include "text/pair_filter.h"

namespace puyu {

class ByteCuts {
 public:
  void add(std::string_view piece);
  // The end of the part of `text` that begins at `at`. Broken UTF-8 stays in one part with what stands around it.
  size_t part_end(std::string_view text, size_t at) const;

 private:
  static size_t pair(char left, char right) {
    return size_t{static_cast<unsigned char>(left)} << 8 | static_cast<unsigned char>(right);
  }
  PairFilter whole_;            // pieces that hold both characters
  std::bitset<65536> partial_;  // pieces that hold a part of one: by the last byte before and the first one behind
};

}  // namespace puyu
