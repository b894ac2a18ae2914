// Text clean-up that loses nothing a reader would miss: what every document goes through before it is judged, and the
// character classes that the language rules and filters count. All functions take UTF-8.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace puyu {

// What normalize_text changed, counted by kind.
struct TextChanges {
  int64_t invalid_utf8 = 0;  // invalid sequences, each replaced by U+FFFD
  int64_t control = 0;       // control, bidi-override and terminal colour sequences, removed
  int64_t newlines = 0;      // CRLF and CR, now LF
  int64_t spaces = 0;        // trailing spaces, surplus blank lines, no-break spaces
  int64_t nfc = 0;           // 1 when composing characters changed the text
};

// Valid UTF-8 in NFC with LF line ends, no control characters but tab and LF, no trailing spaces, at most two blank
// lines in a row and none at either end.
std::string normalize_text(std::string_view text, TextChanges& changes);

// For tokenizers. A general category as one bit; category_bits("L") has those of Lu, Ll, Lt, Lm and Lo, 0 for an
// unknown name.
uint32_t unicode_category(char32_t c);
uint32_t category_bits(std::string_view name);
bool is_white_space(char32_t c);  // Unicode's White_Space
char32_t fold_case(char32_t c);   // simple folding
char32_t upper_case(char32_t c);
// NFC of the valid UTF-8 in text; what is not valid stays as it is.
std::string normalize_nfc(std::string_view text);

bool is_han(char32_t c);     // ideographs of all blocks
bool is_kana(char32_t c);    // hiragana, katakana
bool is_hangul(char32_t c);  // syllables and jamo
bool is_letter(char32_t c);
bool is_upper(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);  // digits and other numbers: ½ Ⅳ ③
// Ends a sentence or clause in English or Chinese: . ! ? : ; " and 。！？：；”」
bool is_terminal(char32_t c);

}  // namespace puyu
