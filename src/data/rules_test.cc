// Every rule of every published set in configs/data/: its bound is the published one, a document just on the right side
// of it passes and one just beyond it is dropped by this rule.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "data/filter.h"
#include "data/judges.h"
#include "data/pipeline.h"
#include "data/stages.h"

namespace puyu {
namespace {

PipelineConfig load_set(const std::string& name) {
  PipelineConfig c;
  std::string path = std::string(PUYU_SOURCE_DIR) + "/configs/data/" + name + ".toml";
  load_config(c, read_file(path), path);
  return c;
}

std::string rep(const std::string& s, size_t n) {
  std::string out;
  while (n-- > 0) out += s;
  return out;
}
// n different words of one character.
std::string han(size_t n, size_t from = 0) {
  std::string out;
  for (size_t i = 0; i < n; ++i) append_utf8(out, static_cast<char32_t>(0x4e00 + from + i));
  return out;
}
// n different lines (or paragraphs) of equal length, and after them the first one `again` times.
std::string lines(size_t n, size_t again, const std::string& end = "\n") {
  std::string out;
  for (size_t i = 0; i < n + again; ++i) out += "line" + std::to_string(i < n ? 10000 + i : 10000) + end;
  return out;
}
std::string some(const std::string& a, size_t n, const std::string& b, size_t m) { return rep(a, n) + rep(b, m); }
// n of N words say the first n again: the share n / N of characters in a repeated n-gram.
std::string again(size_t n, size_t all) { return han(all - n) + han(n); }

struct Case {
  const char *set, *rule;
  double bound;
  std::string passes, fails;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"gopher", "min_words", 50, rep("ab ", 50), rep("ab ", 49)},
      {"gopher", "max_words", 100000, rep("ab ", 100000), rep("ab ", 100001)},
      {"gopher", "min_mean_word", 3, "abc abc", "abc ab"},
      {"gopher", "max_mean_word", 10, "abcdefghij", "abcdefghijk"},
      {"gopher", "max_hash_words", 0.1, rep("ab ", 10) + "#", rep("ab ", 9) + "#"},
      {"gopher", "max_ellipsis_words", 0.1, rep("ab ", 20) + "... …", rep("ab ", 19) + "... …"},
      {"gopher", "max_bullet_lines", 0.9, rep("- a\n", 9) + "b", rep("- a\n", 10) + "b"},
      {"gopher", "max_ellipsis_lines", 0.3, some("a…\n", 3, "a\n", 7), some("a...\n", 4, "a\n", 7)},
      {"gopher", "min_alpha_words", 0.8, "ab ab ab ab 12", "ab ab ab 12"},
      {"gopher", "min_stop_words", 2, "the cat of", "the cat the"},
      {"gopher", "max_duplicate_lines", 0.3, lines(7, 3), lines(7, 4)},
      {"gopher", "max_duplicate_paragraphs", 0.3, lines(7, 3, "\n\n"), lines(7, 4, "\n\n")},
      {"gopher", "max_duplicate_line_chars", 0.2, lines(8, 2), lines(8, 3)},
      {"gopher", "max_duplicate_paragraph_chars", 0.2, lines(8, 2, "\n\n"), lines(8, 3, "\n\n")},
      {"gopher", "max_top_2gram", 0.20, again(2, 20), again(2, 19)},  // twice 2 of 20
      {"gopher", "max_top_3gram", 0.18, again(3, 34), again(3, 33)},
      {"gopher", "max_top_4gram", 0.16, again(4, 50), again(4, 49)},
      {"c4", "min_sentences", 5, rep("It is. ", 5), rep("It is. ", 4)},
      {"mc4", "min_long_lines", 3, rep(std::string(200, 'x') + "\n", 3),
       rep(std::string(200, 'x') + "\n", 2) + std::string(199, 'x')},
      {"fineweb", "min_ended_lines", 0.12, some("a.\n", 12, "a\n", 88), some("a.\n", 11, "a\n", 89)},
      {"fineweb", "max_short_lines", 0.67, some(std::string(30, 'x') + "\n", 67, std::string(31, 'y') + "\n", 33),
       some(std::string(30, 'x') + "\n", 68, std::string(31, 'y') + "\n", 32)},
      {"fineweb", "max_newline_words", 0.3, rep("ab ", 10) + rep("\n", 3), rep("ab ", 10) + rep("\n", 4)},
      {"fineweb", "max_duplicate_line_chars", 0.01, lines(99, 1), lines(98, 2)},
      {"fineweb", "max_duplicate_lines", 0.3, lines(7, 3), lines(7, 4)},
      {"fineweb", "min_sentences", 5, rep("It is! ", 5), rep("It is! ", 4)},
      {"refinedweb", "max_top_2gram", 0.20, again(2, 20), again(2, 19)},
      {"nemo", "min_letters", 0.75, "aaa.", "aa."},
      {"nemo", "max_numbers", 0.15, std::string(17, 'a') + "123", std::string(17, 'a') + "1234"},
      {"nemo", "max_urls", 0.2, "http://a.b " + std::string(39, 'x'), "http://a.b " + std::string(38, 'x')},
      {"nemo", "max_spaces", 0.25, "a bc", "a b"},
      {"nemo", "max_parentheses", 0.1, "()" + std::string(18, 'x'), "()" + std::string(17, 'x')},
      {"nemo", "min_ended_lines", 0.15, some("a.\n", 15, "a\n", 85), some("a.\n", 14, "a\n", 86)},
      {"nemo", "max_longest_word", 1000, std::string(1000, 'x'), std::string(1001, 'x')},
      {"nemo", "max_duplicate_lines", 0.7, lines(3, 7), lines(3, 8)},
      {"nemo", "max_duplicate_paragraphs", 0.7, lines(3, 7, "\n\n"), lines(3, 8, "\n\n")},
      {"nemo", "max_duplicate_line_chars", 0.8, lines(1, 4), lines(1, 5)},
      {"nemo", "max_duplicate_paragraph_chars", 0.8, lines(1, 4, "\n\n"), lines(1, 5, "\n\n")},
      {"fineweb2-zh", "min_mean_word", 1, "字", "。。"},
      {"fineweb2-zh", "max_mean_word", 5, "abcde", "abcdef"},
      {"fineweb2-zh", "min_alpha_words", 0.735, han(147) + rep(" 1", 53), han(146) + rep(" 1", 53)},
      {"fineweb2-zh", "min_ended_lines", 0.106, some("字。\n", 11, "字\n", 89), some("字。\n", 10, "字\n", 90)},
      {"fineweb2-zh", "max_newline_words", 0.178, han(50) + rep("\n", 8), han(50) + rep("\n", 9)},
      {"fineweb2-zh", "max_duplicate_lines", 0.287, lines(5, 2), lines(7, 3)},
      {"fineweb2-zh", "max_top_2gram", 0.256, again(2, 16), again(2, 15)},
      {"fineweb2-zh", "max_top_3gram", 0.201, again(3, 30), again(3, 29)},
      {"fineweb2-zh", "max_top_4gram", 0.171, again(4, 47), again(4, 46)},
      {"fineweb2-zh", "min_stop_words", 2, "的和", "的的"},
      {"evalweb-zh", "min_mean_line", 10, han(10), han(9)},
      {"evalweb-zh", "min_chars", 200, han(200), han(199)},
      {"evalweb-zh", "min_han", 0.3, han(3) + " abcdefg", han(3) + " abcdefgh"},
      {"evalweb-zh", "max_traditional", 0.5, "中国國", "国國學"},
      {"evalweb-zh", "max_duplicate_13gram", 0.5, rep(han(13), 2), rep(han(13), 3)},
      {"datajuicer-zh", "max_char_repetition", 0.6, std::string(19, 'a') + "bcdefgh",  // 10 of 17 grams
       std::string(19, 'a') + "bcdefg"},
  };
  return kCases;
}

TEST(RuleSets, EachRuleJustPassesAndJustFails) {
  for (const Case& c : cases()) {
    PipelineConfig config = load_set(c.set);
    bool zh = std::string_view(c.set).ends_with("-zh");
    EXPECT_EQ(to_json(list_fields(zh ? config.zh : config.en)).at(c.rule).as_double(), c.bound) << c.set << c.rule;
    FilterRules only;  // this rule alone
    only.max_replaced = -1;
    Fields fields = list_fields(only);
    set_field(fields, cat(c.rule, "=", c.bound));
    EXPECT_EQ(judge(c.passes, only, zh).rule, "") << c.set << " " << c.rule;
    EXPECT_EQ(judge(c.fails, only, zh).rule, c.rule) << c.set << " " << c.rule;
  }
}

TEST(RuleSets, DuplicateNgramsJustPassAndJustFail) {
  for (auto [set, bounds] :
       {std::pair<const char*, std::vector<double>>{"gopher", {0.15, 0.14, 0.13, 0.12, 0.11, 0.10}},
        {"fineweb", {0.15, 0.14, 0.13, 0.12, 0.11, 0.10}},
        {"refinedweb", {0.15, 0.14, 0.13, 0.12, 0.11, 0.10}},
        {"nemo", {0.15, 0.14, 0.13, 0.12, 0.11, 0.10}},
        {"fineweb2-zh", {0.198, 0.182, 0.167, 0.154, 0.140, 0.127}}}) {
    bool zh = std::string_view(set).ends_with("-zh");
    PipelineConfig config = load_set(set);
    EXPECT_EQ((zh ? config.zh : config.en).max_duplicate_ngrams, bounds) << set;
    for (size_t n = 5; n <= 10; ++n) {
      FilterRules only;
      only.max_duplicate_ngrams.assign(6, 1);
      only.max_duplicate_ngrams[n - 5] = bounds[n - 5];
      size_t words = n;  // the fewest of which n are not too many
      while (static_cast<double>(n) / static_cast<double>(words) > bounds[n - 5]) ++words;
      EXPECT_EQ(judge(again(n, words), only, zh).rule, "") << set << n;
      EXPECT_EQ(judge(again(n, words - 1), only, zh).rule, cat("max_duplicate_", n, "gram")) << set << n;
    }
  }
}

// Sets hold what their tests above name and nothing else: every other rule is off.
TEST(RuleSets, NothingElseIsOn) {
  for (const auto& e : std::filesystem::directory_iterator(std::string(PUYU_SOURCE_DIR) + "/configs/data")) {
    std::string set = e.path().stem().string();
    PipelineConfig config = load_set(set);
    bool zh = set.ends_with("-zh");
    FilterRules& rules = zh ? config.zh : config.en;
    size_t on = 0;
    Json all = to_json(list_fields(rules));
    for (const auto& [name, value] : all.as_object())
      if (value.is_number())
        on += name.starts_with("min_") ? value.as_double() > 0 : name != "short_words" && value.as_double() >= 0;
    std::map<std::string, size_t> want = {{"gopher", 17},      {"c4", 1},          {"mc4", 1},
                                          {"fineweb", 21},     {"refinedweb", 17}, {"nemo", 14},
                                          {"fineweb2-zh", 10}, {"evalweb-zh", 5},  {"datajuicer-zh", 1}};
    EXPECT_EQ(on, want[set]) << set;
  }
}

std::string lines_left(std::string text, const LineRules& r) {
  filter_lines(text, r);
  return text;
}

TEST(LineRules, C4) {
  LineRules r = load_set("c4").en.lines;
  EXPECT_EQ(lines_left(
                "This line does end.\nThis one does not\nNor does this...\n\nBut \"this one does\"\nThree words here!\n"
                "Two words.",
                r),
            "This line does end.\n\nBut \"this one does\"\nThree words here!");
  EXPECT_EQ(lines_left("A fact[1] that is known.[citation needed] [edit]\nAn array[i] and a [note] stay.", r),
            "A fact that is known.\nAn array[i] and a [note] stay.");
  EXPECT_EQ(lines_left("A fact[12] that is known[citation needed].", r), "A fact that is known.");
  std::string line = "a b " + std::string(1000, 'x'), longer = "a b " + std::string(1001, 'x');
  r.terminal_punctuation = false;
  EXPECT_EQ(lines_left(line + "\n" + longer, r), line);
  EXPECT_FALSE(load_set("fineweb").en.lines.terminal_punctuation);
}

TEST(LineRules, RefinedWeb) {
  LineRules r = load_set("refinedweb").en.lines;
  EXPECT_EQ(lines_left("HALF of them\nBUY IT now", {.max_uppercase = 0.5}), "HALF of them");
  EXPECT_EQ(lines_left("AB cd\nABC de\n12 / 2021\n3 likes\n3 likely causes\nword\ntwo words\nSign in to see it\n"
                       "He said: sign in and all will be well\nAnd much more of it. Read more...\n2 items in cart now\n"
                       "Sign in is what the clerk at the desk in the hall asked of all of them.",
                       r),
            "AB cd\n3 likely causes\ntwo words\nHe said: sign in and all will be well\n"
            "Sign in is what the clerk at the desk in the hall asked of all of them.");
  EXPECT_EQ(lines_left("Nothing is\n\nremoved here.\n", r), "Nothing is\n\nremoved here.\n");
}

TEST(LineRules, ADocumentThatLosesTooManyWordsIsDropped) {
  PipelineConfig config;
  config.en = FilterRules{};
  config.en.lines.numeric = true, config.en.lines.max_removed_words = 0.05;
  auto kept = [&](size_t removed) {
    Judges judges(config);
    Stages stages(config, judges);
    Document d;
    d.language = "en";
    d.content = rep("word ", 95) + "\n" + rep("1 ", removed);
    bool stays = stages.process(d);
    Stage& filter = stages.funnel.stage("filter");
    EXPECT_EQ(filter.changed["en.line_numeric"], 1);
    EXPECT_EQ(filter.dropped.count("en.max_removed_words"), !stays);
    if (stays) { EXPECT_EQ(d.content, rep("word ", 94) + "word"); }
    return stays;
  };
  EXPECT_TRUE(kept(5));   // 5 of 100
  EXPECT_FALSE(kept(6));  // 6 of 101
}

}  // namespace
}  // namespace puyu
