// Patterns: each construct on its own, those of real tokenizers, and what is refused.
#include "text/pattern.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/hf_bpe.h"

namespace puyu {
namespace {

// What the pattern matches at the beginning of text; "-" for no match.
std::string first(const std::string& pattern, const std::string& text) {
  const size_t end = SplitPattern(pattern).match(text, 0);
  return end == std::string::npos ? "-" : text.substr(0, end);
}

TEST(SplitPattern, Constructs) {
  const char* rows[][3] = {{"abc", "abcd", "abc"},
                           {"a|ab", "ab", "a"},  // the first way that matches
                           {"a+", "aaab", "aaa"},
                           {"a*b", "b", "b"},
                           {"a{2,3}", "aaaa", "aaa"},
                           {"a{2}", "a", "-"},
                           {"a+a", "aaa", "aaa"},  // gives one back
                           {"a++a", "aaa", "-"},   // possessive: never
                           {"a+?b?", "aab", "a"},  // lazy
                           {"a+?b", "aab", "aab"},
                           {"[^a-c]+", "xyza", "xyz"},
                           {"[]a]+", "]a", "]a"},
                           {"[a\\-z]+", "-az", "-az"},
                           {"\\p{Lu}\\p{Ll}+", "Été!", "Été"},
                           {"\\P{L}+", "12 a", "12 "},
                           {"\\s+(?!\\S)", "   x", "  "},
                           {"\\s+(?=x)", "   x", "   "},
                           {"(?i:'s|'T)x", "'tx", "'tx"},
                           {"(?i:s)", "ſ", "ſ"},  // folds to s
                           {"(?:ab)?c", "abc", "abc"},
                           {"(?:ab|c)?d", "cd", "cd"},
                           {"x(?:a|b(?:c|d))e", "xbde", "xbde"},
                           {"a$|a", "ab", "a"},
                           {"\\x{4f60}\\u597d", "你好", "你好"},
                           {".", "\n", "-"},
                           {"\\S+", "𠮷a b", "𠮷a"}};
  for (auto [pattern, text, want] : rows) EXPECT_EQ(first(pattern, text), want) << pattern << " on " << text;
  EXPECT_EQ(first("[^\\s]{2}", "\xff\xfe"), "\xff\xfe");  // broken bytes are characters of no class
  EXPECT_EQ(SplitPattern::literal("a.b").match("a.b", 0), 3u);
  EXPECT_EQ(SplitPattern::literal("a.b").match("axb", 0), std::string::npos);
}

TEST(SplitPattern, LongRunsTakeLinearTimeAndNoStack) {
  const SplitPattern p(kCl100kPattern);
  const std::string letters(1000000, 'a'), spaces(1000000, ' ');
  EXPECT_EQ(p.match(letters, 0), letters.size());
  EXPECT_EQ(p.match(spaces, 0), spaces.size());  // \s++$
  EXPECT_EQ(p.match(spaces + "x", 0), spaces.size() - 1);
  EXPECT_THROW(SplitPattern("a*a*a*a*a*b").match(std::string(5000, 'a'), 0), Error);  // no way to end soon: says so
}

TEST(SplitPattern, WhatIsNotDoneIsRefused) {
  for (const char* bad : {"(ab)+", "(?<=a)b", "\\1", "[[:alpha:]]", "a{3,2}", "*a", "(a", "a)", "[a", "\\p{Klingon}",
                          "\\", "[z-a]", "\\b", "a{99999999}", "[a&&b]", "a$b"})
    EXPECT_THROW(SplitPattern{bad}, Error) << bad;
  EXPECT_THROW(SplitPattern(std::string(100, '(') + std::string(100, ')')), Error);
}

}  // namespace
}  // namespace puyu
