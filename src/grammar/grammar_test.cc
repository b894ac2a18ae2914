// GBNF, the automaton and the mask.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "grammar/gbnf.h"
#include "grammar/testing.h"

namespace puyu::grammar {
namespace {

std::shared_ptr<const Grammar> gbnf(const std::string& text) {
  return std::make_shared<const Grammar>(parse_gbnf(text));
}
std::string error_of(const std::string& text) {
  try {
    parse_gbnf(text);
  } catch (const Error& e) { return e.what(); }
  return "accepted";
}

TEST(Gbnf, AcceptsAndRejectsByTable) {
  struct Row {
    const char* grammar;
    std::vector<std::string> yes, no;
  };
  const Row rows[] = {
      {"root ::= \"ab\"", {"ab"}, {"", "a", "abc", "b"}},
      {"root ::= \"a\" | \"bc\" | ", {"a", "bc", ""}, {"b", "abc"}},
      {"root ::= \"a\"*", {"", "a", "aaaa"}, {"b", "aab"}},
      {"root ::= \"ab\"+ # a comment\n", {"ab", "abab"}, {"", "aba", "abb"}},
      {"root ::= \"a\"? \"b\"", {"ab", "b"}, {"a", "aab"}},
      {"root ::= [a-c]{2}", {"ab", "cc"}, {"a", "abc", "ad"}},
      {"root ::= [a-c]{2,}", {"ab", "abcabc"}, {"a", ""}},
      {"root ::= [a-c]{1,3}", {"a", "abc"}, {"", "abca"}},
      {"root ::= [a-c]{0,2} \"x\"{0}", {"", "ab"}, {"x", "abc"}},
      {"root ::= (\"a\" | \"b\")+ \"c\"", {"ac", "abbac"}, {"c", "ab"}},
      {"root ::= x y\nx ::= \"1\" |\n  \"2\"\ny ::= (\n\"3\"\n)", {"13", "23"}, {"3", "1"}},
      {"root ::= [^a\\]\\\\]", {"b", "你", "🐉", "\n"}, {"a", "]", "\\", "", "bb", "\xE4\xBD", "\x80", "\xED\xA0\x80"}},
      {"root ::= [α-ω你]+", {"α", "βω你"}, {"a", "好", "Ω"}},
      {"root ::= .", {"a", "\n", "é", "\xF4\x8F\xBF\xBF"}, {"", "ab", "\xFF", "\xF4\x90\x80\x80", "\xC0\x80"}},
      {"root ::= \"\\x41\\u4F60\\U0001F409\\t\\\"\"", {"A你🐉\t\""}, {"A"}},
      {"root ::= [\\x00-\\x1f]", {std::string(1, '\0'), "\x1f"}, {" "}},
      {"root ::= [a-]", {"a", "-"}, {"b"}},
      {"root ::= \"(\" root \")\" | \"x\"", {"x", "((x))"}, {"(x", "x)", "()"}},
      {"root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"x\"", {"aaaxbcb", "x"}, {"aaxb", "axd"}},
      {"root ::= \"a\" root \"a\" | \"a\" | ", {"", "a", "aa", "aaa", "aaaaaaaa"}, {"b", "aab"}},
      {"root ::= (\"a\"* \"b\"*)*", {"", "aabbab", "b"}, {"c"}},
      {"root ::= (\"a\"?){3} \"a\"{3}", {"aaa", "aaaaaa"}, {"aa", "aaaaaaa"}},
      {"root ::= other\nother ::= root | \"a\"", {"a"}, {"", "aa"}},
      {"root ::= e \"a\" e\ne ::= | e2\ne2 ::= \"\" | \"b\"", {"a", "ba", "ab", "bab"}, {"", "bb"}},
      {"root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | \"(\" expr \")\"",
       {"1+2+(3+40)", "((7))"},
       {"1+", "(1", "1)"}},
  };
  for (const Row& row : rows) {
    const auto g = gbnf(row.grammar);
    for (const std::string& s : row.yes) EXPECT_TRUE(matches(g, s)) << row.grammar << " should take " << s;
    for (const std::string& s : row.no) EXPECT_FALSE(matches(g, s)) << row.grammar << " should refuse " << s;
  }
}

TEST(Gbnf, ErrorsSayWhatAndWhere) {
  const char* rows[][2] = {
      {"", "'root ::= ...'"},
      {"x ::= \"a\"", "'root ::= ...'"},
      {"root = \"a\"", "line 1, column 6: expected '::='"},
      {"root ::= x", "rule 'x' is used but not defined"},
      {"root ::= \"a\"\nroot ::= \"b\"", "defined twice"},
      {"root ::= \"a", "the closing '\"'"},
      {"root ::= [a", "the closing ']'"},
      {"root ::= (\"a\"", "line 1, column 14: expected ')', got the end"},
      {"root ::= \"a\" )", "expected the end of the rule"},
      {"root ::= \"\\q\"", "expected an escape"},
      {"root ::= \"\\uD800\"", "a Unicode character"},
      {"root ::= \"\\x4\"", "2 hex digits"},
      {"root ::= [b-a]", "a range"},
      {"root ::= \"a\"{3,2}", "m <= n"},
      {"root ::= \"a\"{,2}", "a number"},
      {"root ::= \"a\"{999999999}", "a smaller number"},
      {"root ::= []", "no character belongs to"},
      {"root ::= <tok>", "expected"},
      {"root ::= \xFF", "expected UTF-8"},
      {"root ::= root \"a\" | \"b\"", "'root' is left-recursive"},
      {"root ::= x\nx ::= \"\"? root? \"a\"", "left-recursive"},
      {"root ::= \"a\" root", "'root' has no end"},
      {"root ::= \"a\" | x\nx ::= \"(\" x \")\"", "'x' has no end"},
      {"root ::= [a-z]{200000} [a-z]{200000}", "too large"},
  };
  for (auto& [text, want] : rows)
    EXPECT_NE(error_of(text).find(want), std::string::npos) << text << "\n" << error_of(text);
  EXPECT_NE(error_of("root ::= " + std::string(200, '(') + "\"a\"" + std::string(200, ')')).find("groups"),
            std::string::npos);
}

TEST(Gbnf, DepthIsBoundedAndNeverADeadEnd) {
  const auto g = gbnf("root ::= \"(\" root \")\" | \"x\"");
  auto nested = [](size_t n) { return std::string(n, '(') + "x" + std::string(n, ')'); };
  EXPECT_TRUE(matches(g, nested(kMaxDepth)));
  EXPECT_FALSE(matches(g, nested(kMaxDepth + 1)));
  EXPECT_TRUE(matches(gbnf("root ::= \"a\" root | \"b\""), std::string(5000, 'a') + "b"));  // last place: no depth
  // Needs three open rules to end, so the mask must stop going deeper in time.
  auto guide =
      test_guide(parse_gbnf("root ::= \"(\" root y | y\ny ::= z \")\"\nz ::= w \"1\"\nw ::= v \"2\"\nv ::= \"3\""));
  auto mask = guide->mask();
  std::string text;
  while (!mask->finished()) {
    const auto ids = allowed(*mask, test_vocabulary().size());
    ASSERT_FALSE(ids.empty()) << text;
    const int32_t paren = 1 + '(';
    const int32_t id = std::find(ids.begin(), ids.end(), paren) != ids.end() ? paren : ids[0];
    ASSERT_NE(id, 0);
    text += test_vocabulary()[static_cast<size_t>(id)];
    mask->accept(id);
    ASSERT_LT(text.size(), 2000u);
  }
  EXPECT_TRUE(matches(gbnf("root ::= \"(\" root y | y\ny ::= \"321)\""), text));
}

TEST(Gbnf, AmbiguousGrammarsStaySmall) {
  const auto g = gbnf("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" root | \"x\" | \"xx\"");
  Automaton a(g);
  int32_t s = a.step(a.start(), std::string(100, 'a') + "x" + std::string(50, 'b') + std::string(50, 'c'));
  EXPECT_TRUE(a.accepting(s));
  EXPECT_LT(a.work(), 20'000'000u);
}

TEST(CodeSet, BytesAreExactlyUtf8) {
  for (const CodeSet& set : {CodeSet{{0x41, 0x7FF}}, CodeSet{{0x80, 0x10FFFF}},
                             CodeSet{{0x7F0, 0x1234}, {0xFFF0, 0x10010}}, kAnyCode, CodeSet{{0x4F60, 0x4F60}}}) {
    Draft d;
    const int32_t root = d.rule("root");
    d.alternative(root, d.chars(set));
    Automaton a(std::make_shared<const Grammar>(Grammar(d)));
    for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x20000 ? 1 : 251) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string s;
      append_utf8(s, c);
      ASSERT_EQ(a.accepting(a.step(a.start(), s)), set.contains(c)) << static_cast<uint32_t>(c);
    }
  }
  EXPECT_TRUE(CodeSet{}.complement().minus(kAnyCode).empty());
}

TEST(Mask, AllowsExactlyTheTokensThatTheGrammarContinuesWith) {
  // Against the definition: a token is allowed when the automaton survives its bytes.
  const auto vocabulary = test_vocabulary();
  const std::string text =
      "root ::= \"[\" (item (\",\" item)*)? \"]\"\nitem ::= [0-9]+ | root | \"\\\"\" [^\"]* \"\\\"\"";
  auto guide = test_guide(parse_gbnf(text));
  Automaton a(gbnf(text));
  Rng rng(5);
  for (int answer = 0; answer < 20; ++answer) {
    auto mask = guide->mask();
    int32_t state = a.start();
    for (int i = 0; i < 40 && !mask->finished(); ++i) {
      std::vector<int32_t> want;
      if (a.accepting(state)) want.push_back(0);
      for (size_t id = 1; id < vocabulary.size(); ++id)
        if (!vocabulary[id].empty() && a.step(state, vocabulary[id]) != kDead) want.push_back(static_cast<int32_t>(id));
      const auto got = allowed(*mask, vocabulary.size() + 5);  // the model's vocabulary is padded
      ASSERT_EQ(got, want);
      const int32_t id = got[rng.below(got.size())];
      if (id == 0) break;
      mask->accept(id);
      state = a.step(state, vocabulary[static_cast<size_t>(id)]);
    }
  }
}

TEST(Mask, EndsWhereNothingMayFollowAndKeepsLogits) {
  auto guide = test_guide(parse_gbnf("root ::= \"ab\" | \"abc\" \"d\"?"));
  auto mask = guide->mask();
  std::vector<float> logits(300, 2.5f);
  mask->allow(logits);
  EXPECT_EQ(logits[1 + 'a'], 2.5f);
  EXPECT_FALSE(std::isfinite(logits[0]) || std::isfinite(logits[1 + 'b']) || std::isfinite(logits[299]));
  for (char c : {'a', 'b'}) {
    EXPECT_FALSE(mask->finished());
    mask->accept(1 + c);
  }
  EXPECT_EQ(allowed(*mask, 300), (std::vector<int32_t>{0, 1 + 'c'}));
  mask->accept(1 + 'c'), mask->accept(1 + 'd');
  EXPECT_TRUE(mask->finished());
  EXPECT_EQ(allowed(*mask, 300), std::vector<int32_t>{0});
  auto wrong = guide->mask();
  wrong->accept(1 + 'z');  // not allowed: the answer is over, and may not end well
  EXPECT_TRUE(wrong->finished());
  EXPECT_TRUE(allowed(*wrong, 300).empty());
}

TEST(Mask, RandomAnswersBelongToTheGrammar) {
  Rng rng(7);
  for (const char* text :
       {"root ::= [a-z]{3,8} (\" \" [a-z你好]+){0,3} \".\"",
        "root ::= e\ne ::= t ([-+] t){0,4}\nt ::= [0-9]{1,4} | \"(\" e \")\"", "root ::= .{0,9} \"]\""}) {
    const auto g = gbnf(text);
    auto guide = test_guide(parse_gbnf(text));
    for (int i = 0; i < 50; ++i) {
      const auto answer = random_answer(*guide, rng);
      if (!answer) continue;  // kept nesting
      EXPECT_TRUE(matches(g, *answer)) << *answer;
      EXPECT_TRUE(valid_utf8(*answer));
    }
  }
}

}  // namespace
}  // namespace puyu::grammar
