#include "text/bpe_words.h"

#include "base/error.h"
#include "base/utf8.h"
#include "text/hf_bpe.h"
#include "text/pattern.h"

namespace puyu {
namespace {

enum class Script {
  kNone,
  kSpace,
  kTab,
  kNewline,
  kDigit,
  kPunctuation,
  kLatin,
  kGreek,
  kCyrillic,
  kHan,
  kKana,
  kHangul,
  kOther
};

Script script_of_ascii(char32_t c) {
  if (c == ' ') return Script::kSpace;
  if (c == '\t') return Script::kTab;
  if (c == '\n') return Script::kNewline;
  if (c < 0x20 || c == 0x7F) return Script::kNone;
  if (c >= '0' && c <= '9') return Script::kDigit;
  if ((c | 32) >= 'a' && (c | 32) <= 'z') return Script::kLatin;
  return Script::kPunctuation;
}

// The Unicode blocks that matter here; what is in none of them is kOther, which keeps to itself.
Script script_of(char32_t c) {
  if (c < 0x80) return script_of_ascii(c);
  if (c == 0x2581 || c < 0xA0) return Script::kNone;
  struct Range {
    char32_t first, last;
    Script script;
  };
  constexpr Range kRanges[] = {{0xA0, 0xBF, Script::kPunctuation},       {0xC0, 0x24F, Script::kLatin},
                               {0x300, 0x36F, Script::kLatin},           {0x370, 0x3FF, Script::kGreek},
                               {0x400, 0x52F, Script::kCyrillic},        {0x1E00, 0x1EFF, Script::kLatin},
                               {0x1F00, 0x1FFF, Script::kGreek},         {0x2000, 0x2BFF, Script::kPunctuation},
                               {0x2E80, 0x2FDF, Script::kHan},           {0x3000, 0x3004, Script::kPunctuation},
                               {0x3005, 0x3007, Script::kHan},           {0x3008, 0x303F, Script::kPunctuation},
                               {0x3040, 0x30FF, Script::kKana},          {0x3400, 0x9FFF, Script::kHan},
                               {0xAC00, 0xD7AF, Script::kHangul},        {0xF900, 0xFAFF, Script::kHan},
                               {0xFE30, 0xFE6F, Script::kPunctuation},   {0xFF01, 0xFF0F, Script::kPunctuation},
                               {0xFF10, 0xFF19, Script::kDigit},         {0xFF1A, 0xFF20, Script::kPunctuation},
                               {0xFF21, 0xFF5A, Script::kLatin},         {0xFF5B, 0xFF65, Script::kPunctuation},
                               {0x1F000, 0x1FAFF, Script::kPunctuation}, {0x20000, 0x3FFFD, Script::kHan}};
  for (const Range& r : kRanges)
    if (c >= r.first && c <= r.last) return r.script;
  return Script::kOther;
}

}  // namespace

void each_word(std::string_view text, const WordFunction& word) {
  size_t start = 0, length = 0;  // of the word so far: first byte, characters
  Script script = Script::kNone;
  auto cut = [&](size_t at) {
    if (length > 0) word(text.substr(start, at - start));
    start = at, length = 0;
  };
  char32_t c = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t n = decode_utf8(text, i, c);
    const Script now = n == 0 ? Script::kNone : script_of(c);
    const bool space_before = script == Script::kSpace && length == 1;
    const bool goes_on = now == script && now != Script::kNewline && now != Script::kDigit && length < kMaxWord;
    const bool takes_space = space_before && now >= Script::kPunctuation;
    if (!goes_on && !takes_space) cut(i);
    i += n == 0 ? 1 : n;
    script = now;
    if (now == Script::kNone)
      start = i, length = 0;
    else
      ++length;
  }
  cut(text.size());
}

namespace {

// A stretch of text as words: what belongs to no word is left out, digits and long stretches are cut.
void put_words(std::string_view text, bool split_digits, const WordFunction& word) {
  size_t start = 0, length = 0;
  auto cut = [&](size_t at) {
    if (length > 0) word(text.substr(start, at - start));
    start = at, length = 0;
  };
  char32_t c = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t n = decode_utf8(text, i, c);
    const Script script = n == 0 ? Script::kNone : script_of(c);
    const bool alone = split_digits && script == Script::kDigit;
    if (alone || script == Script::kNone || length == kMaxWord) cut(i);
    i += n == 0 ? 1 : n;
    if (script == Script::kNone)
      start = i;
    else
      ++length;
    if (alone) cut(i);
  }
  cut(text.size());
}

void each_line_word(std::string_view text, bool split_digits, const WordFunction& word) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    put_words(text.substr(0, end), split_digits, word);
    if (end == text.npos) return;
    word(text.substr(end, 1));
    text.remove_prefix(end + 1);
  }
}

void each_pattern_word(const SplitPattern& pattern, std::string_view text, bool split_digits,
                       const WordFunction& word) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = pattern.match(text, at);
    const size_t next = end == text.npos || end == at ? at + 1 : end;
    put_words(text.substr(at, next - at), split_digits, word);
    at = next;
  }
}

}  // namespace

std::function<void(std::string_view, const WordFunction&)> word_cutter(const std::string& name, bool split_digits) {
  if (name == "script") return each_word;
  if (name == "none")
    return [=](std::string_view text, const WordFunction& word) { each_line_word(text, split_digits, word); };
  if (name != "cl100k") fail("[tokenizer] pretokenizer: expected 'script', 'cl100k' or 'none', got '", name, "'");
  return [=, pattern = SplitPattern(kCl100kPattern)](std::string_view text, const WordFunction& word) {
    each_pattern_word(pattern, text, split_digits, word);
  };
}

}  // namespace puyu
