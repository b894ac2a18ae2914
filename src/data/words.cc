#include "data/words.h"

#include "base/hash.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr char lower(char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); }

// Case is folded 8 bytes at a time for short words, which nearly all are.
uint64_t word_hash(std::string_view s) {
  uint64_t h = s.size();
  for (size_t i = 0; i < s.size();) {
    uint64_t piece = 0;
    for (size_t k = 0; k < 8 && i < s.size(); ++k, ++i) piece = piece << 8 | static_cast<unsigned char>(lower(s[i]));
    h = mix64(h ^ piece);
  }
  return h;
}

}  // namespace

std::vector<Word> split_words(std::string_view s) {
  std::vector<Word> out;
  out.reserve(s.size() / 6);
  size_t start = 0;
  uint32_t chars = 0;
  bool letter = false;
  auto end_word = [&](size_t end) {
    if (chars) out.push_back({s.substr(start, end - start), word_hash(s.substr(start, end - start)), chars, letter});
    chars = 0, letter = false;
  };
  for (size_t i = 0; i < s.size();) {
    char32_t c = static_cast<unsigned char>(s[i]);
    size_t n = 1;
    if (c >= 0x80) n = decode_utf8(s, i, c);
    if (n == 0) n = 1, c = ' ';
    if (is_han(c)) {
      end_word(i);
      start = i, chars = 1, letter = true;
      end_word(i + n);
    } else {
      bool alpha = is_letter(c);
      if (alpha || c == '_' || is_digit(c)) {
        if (chars == 0) start = i;
        ++chars, letter |= alpha;
      } else {
        end_word(i);
      }
    }
    i += n;
  }
  end_word(s.size());
  return out;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

}  // namespace puyu
