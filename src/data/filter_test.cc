#include "data/filter.h"

#include <gtest/gtest.h>

#include "base/config.h"
#include "base/rng.h"

namespace puyu {
namespace {

// Prose without repetition: random words of three syllables between stop words, and a full stop.
std::string prose(int sentences, uint64_t seed = 1) {
  const char* stops[] = {"the", "of", "and", "to", "that", "with", "have", "be"};
  Rng rng(seed);
  std::string out;
  for (int s = 0; s < sentences; ++s) {
    for (int w = 0; w < 14; ++w) {
      if (w) out += ' ';
      if (rng.below(4) == 0) {
        out += stops[rng.below(8)];
        continue;
      }
      for (int k = 0; k < 3; ++k) out += "bdfgklmnprst"[rng.below(12)], out += "aeiou"[rng.below(5)];
    }
    out += ".\n";
  }
  return out;
}

std::string chinese_prose(int sentences) {
  Rng rng(7);
  std::string out;
  for (int s = 0; s < sentences; ++s) {
    for (int i = 0; i < 20; ++i) {
      auto c = static_cast<uint32_t>(0x4e00 + rng.below(3000));
      out += static_cast<char>(0xe0 | c >> 12), out += static_cast<char>(0x80 | (c >> 6 & 63)),
          out += static_cast<char>(0x80 | (c & 63));
    }
    out += "的是。\n";
  }
  return out;
}

std::string en(std::string_view text) { return judge(text, english_rules(), false).rule; }
std::string zh(std::string_view text) { return judge(text, chinese_rules(), true).rule; }
std::string code(std::string_view text) { return judge(text, code_rules(), false).rule; }

TEST(Filter, GoodTextStays) {
  EXPECT_EQ(en(prose(30)), "");
  EXPECT_EQ(zh(chinese_prose(30)), "");
  EXPECT_EQ(zh("《送别》\n作者：王维\n下马饮君酒，问君何所之。\n君言不得意，归卧南山陲。\n"), "");
  EXPECT_EQ(code("int main() {\n  int total = 0;\n  for (int i = 0; i < 10; ++i) total += i * i;\n"
                 "  printf(\"%d\", total);\n  return total > 100;\n}\n"),
            "");
}

TEST(Filter, EachEnglishRuleDrops) {
  std::string p = prose(30), bullets, dots, unended, repeated, numbers, symbols;
  for (int i = 0; i < 30; ++i) {
    std::string line = prose(1, i + 100);
    line.pop_back();
    bullets += "- " + line + "\n";
    dots += line + "..\n";
    unended += line.substr(0, line.size() - 1) + "\n";
    numbers += std::to_string(i * 7919) + " " + std::to_string(i * 104729) + " " + line.substr(0, 20) + ".\n";
  }
  for (int i = 0; i < 40; ++i) repeated += i % 2 ? "the house and the river have that." : prose(1, i);
  for (int i = 0; i < 40; ++i) repeated += (i % 2 ? "the house and the river have that.\n" : prose(1, i));
  EXPECT_EQ(en("the end and of it."), "min_words");
  EXPECT_EQ(en(bullets), "max_bullet_lines");
  EXPECT_EQ(en(dots), "max_ellipsis_lines");
  EXPECT_EQ(en(unended), "min_ended_lines");
  EXPECT_EQ(en(numbers), "min_alpha_words");
  EXPECT_EQ(en(repeated), "max_duplicate_lines");
  EXPECT_EQ(en(p + std::string(80, '#')), "max_symbol_words");
  EXPECT_EQ(en(p + " Lorem ipsum dolor."), "banned");
  std::string odd, shorts, longs;
  for (int i = 0; i < 60; ++i) odd += "xylo" + std::to_string(i) + " quark" + std::to_string(i * 3) + " zebra.\n";
  EXPECT_EQ(en(odd), "min_stop_words");
  for (int i = 0; i < 60; ++i) shorts += "a b to " + std::string(1, 'a' + i % 26) + ".\n";
  EXPECT_EQ(en(shorts), "min_mean_word");
  for (int i = 0; i < 60; ++i) longs += "incomprehensibilities" + std::to_string(i) + " the.\n";
  EXPECT_EQ(en(longs), "max_mean_word");
  EXPECT_EQ(
      en(p + "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"
             "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"),
      "max_replaced");
}

TEST(Filter, Repetition) {
  std::string top, phrase;
  for (int i = 0; i < 60; ++i) top += "buy now " + prose(1, i).substr(0, 14) + " now buy buy now. the and.\n";
  EXPECT_TRUE(en(top).starts_with("max_top_")) << en(top);
  for (int i = 0; i < 20; ++i) phrase += prose(1, i).substr(0, 90) + " one quick brown fox jumps.\n";
  EXPECT_TRUE(en(phrase).starts_with("max_duplicate_")) << en(phrase);
  // Counted by hand: 10 words of 1 character, the last 5 repeat the first 5.
  FilterRules r;
  r.max_duplicate_ngrams = {0.1};
  EXPECT_DOUBLE_EQ(measure("a b c d e a b c d e", r, false).duplicate_ngrams[0], 0.5);
  EXPECT_DOUBLE_EQ(measure("a b x a b y a b z", english_rules(), false).top_2gram, 6.0 / 9);
}

TEST(Filter, ChineseRulesDrop) {
  EXPECT_EQ(zh("太短的文字"), "min_chars");
  std::string lists, repeated, latin = chinese_prose(3);
  for (int i = 0; i < 30; ++i) lists += chinese_prose(i + 1).substr(i * 70, 60) + "的\n";
  EXPECT_EQ(zh(lists), "min_ended_lines");
  for (int i = 0; i < 30; ++i)
    repeated += i % 2 ? "同一行文字，出现很多次。\n" : chinese_prose(i + 1).substr(i * 70, 60) + "。\n";
  EXPECT_EQ(zh(repeated), "max_duplicate_lines");
  EXPECT_EQ(zh("中文的说明" + std::string(40, '=') + "。"), "min_letters");
}

TEST(Filter, CodeRulesDrop) {
  std::string lines;
  for (int i = 0; i < 10; ++i) lines += "int value_" + std::to_string(i) + " = compute(" + std::to_string(i) + ");\n";
  EXPECT_EQ(code(lines), "");
  EXPECT_EQ(code("x = 1\n"), "min_chars");
  EXPECT_EQ(
      code("int value = compute_something_long(argument_one, argument_two);\nint other = value + compute(value);\n"),
      "min_lines");
  EXPECT_EQ(code(lines + std::string(1200, 'a') + "\n"), "max_mean_line");
  EXPECT_EQ(code(lines + lines + lines + std::string(1200, 'a') + "\n"), "max_longest_line");
  std::string data;
  for (int i = 0; i < 20; ++i) data += "{{{{{}}}}},,,,;;;;----++++\n";
  EXPECT_EQ(code(data), "min_letters");
}

TEST(Filter, PolicyLines) {
  std::string text = "Good text.\nThis site uses cookies to serve you.\nPlease enable JavaScript.\nMore.";
  EXPECT_EQ(remove_policy_lines(text), 2);
  EXPECT_EQ(text, "Good text.\nMore.");
  EXPECT_EQ(remove_policy_lines(text), 0);
}

TEST(Filter, RulesAreConfigurable) {
  FilterRules r = english_rules();
  load_config(r, "min_words = 2\nmin_stop_words = 0\nbanned = [\"secret\"]\nmax_duplicate_ngrams = []\n", "test");
  EXPECT_EQ(judge("Some short text.", r, false).rule, "");
  EXPECT_EQ(judge("Some secret text.", r, false).rule, "banned");
}

}  // namespace
}  // namespace puyu
