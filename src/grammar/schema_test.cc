// Regular expressions, choices, JSON schemas.
#include "grammar/schema.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "grammar/regex.h"
#include "grammar/testing.h"

namespace puyu::grammar {
namespace {

using Texts = std::vector<std::string>;
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "accepted";
}
void check(const Grammar& grammar, const std::string& name, const Texts& yes, const Texts& no) {
  const auto g = std::make_shared<const Grammar>(grammar);
  for (const std::string& s : yes) EXPECT_TRUE(matches(g, s)) << name << " should take " << s;
  for (const std::string& s : no) EXPECT_FALSE(matches(g, s)) << name << " should refuse " << s;
}

TEST(Choice, TakesExactlyTheTexts) {
  check(choice_grammar({"yes", "no", "yesterday", "你好", "你"}), "choice", {"yes", "no", "yesterday", "你好", "你"},
        {"", "y", "yest", "n", "nono", "好"});
  check(choice_grammar({"", "a", "a"}), "choice", {"", "a"}, {"aa"});
  EXPECT_NE(error_of([] { choice_grammar({}); }).find("at least one"), std::string::npos);
  Texts many;
  for (int i = 0; i < 3000; ++i) many.push_back(std::string(static_cast<size_t>(i % 60), 'a') + std::to_string(i));
  check(choice_grammar(many), "many", {many[7], many[2999]}, {"aaa", many[7] + "x"});
}

TEST(Regex, AcceptsAndRejectsByTable) {
  struct Row {
    const char* pattern;
    Texts yes, no;
  };
  const Row rows[] = {
      {"abc", {"abc"}, {"ab", "abcd"}},
      {"", {""}, {"a"}},
      {"a|bc|", {"a", "bc", ""}, {"b", "ab"}},
      {"^a|b$", {"a", "b"}, {"ab"}},
      {"(a|b)*c", {"c", "abbac"}, {"ab", "d"}},
      {"(?:ab)+?(?<n>c)??", {"ab", "ababc"}, {"", "abcc"}},
      {"a{2}b{1,}c{0,1}", {"aab", "aabbc"}, {"ab", "aa", "aabcc"}},
      {"\\d{3}-\\w+", {"123-a_9"}, {"12-a", "123-"}},
      {"\\s\\S\\D\\W", {" ax!", "\u3000你x "}, {"aax!", " a1!", " axy"}},
      {"[^\\d,-]+", {"abc你"}, {"1", ",", "-", ""}},
      {"[a\\-z\\]]", {"a", "-", "z", "]"}, {"b", "\\"}},
      {"[a-]", {"a", "-"}, {"b"}},
      {".", {"a", "你"}, {"\n", "\r", "\xE2\x80\xA8", ""}},
      {"[^]", {"a", "\n"}, {""}},
      {"\\x41\\u4f60\\u{1F409}\\cJ\\0\\/\\.", {std::string("A你🐉\n\0/.", 12)}, {"A"}},
      {"[\\b\\n]", {"\b", "\n"}, {"b"}},
      {"(((a?)*)*)*", {"", "aaa"}, {"b"}},
      {"x{0}", {""}, {"x"}},
  };
  for (const Row& r : rows) check(regex_grammar(r.pattern), r.pattern, r.yes, r.no);
  const char* bad[][2] = {{"(?=a)", "look-ahead"},
                          {"(?<!a)b", "look-behind"},
                          {"(a)\\1", "back references"},
                          {"\\bfoo", "boundaries"},
                          {"\\p{L}", "properties"},
                          {"(?i)a", "flags"},
                          {"a**", "nothing to repeat"},
                          {"*a", "nothing to repeat"},
                          {"(a", "without its ')'"},
                          {"a)", "without its '('"},
                          {"[a", "without its ']'"},
                          {"a]", "write \\"},
                          {"a{2", "expected '}'"},
                          {"a{3,2}", "m <= n"},
                          {"[b-a]", "a range"},
                          {"[\\d-z]", "accepted"},
                          {"[a-\\d]", "both ends"},
                          {"\\q", "not known"},
                          {"a\\", "at the end"},
                          {"a^b", "'^'"},
                          {"(a$)b", "'$'"},
                          {"a$b", "'$'"},
                          {"[]", "no character"},
                          {"\\ud83d", "surrogates"},
                          {"\\07", "octal"},
                          {"\\u{110000}", "up to"},
                          {"(a{1000}){1000}", "accepted"}};
  for (auto& [pattern, want] : bad) {
    const std::string got = error_of([&] { regex_grammar(pattern); });
    EXPECT_NE(got.find(want), std::string::npos) << pattern << ": " << got;
  }
}

struct SchemaRow {
  const char* schema;
  Texts yes, no;
};
const SchemaRow kSchemas[] = {
    {"true", {"1", "[1,2]", "{\"a\": null}", "\"x\""}, {"", "tru", "{a:1}"}},
    {R"({"type":"string"})",
     {R"("")", R"("a\n\"你")", R"("\ud83d\ude00")"},
     {"a", "\"\n\"", R"("\x")", R"("\ud83d")", "null"}},
    {R"({"type":"string","minLength":2,"maxLength":3})", {R"("ab")", R"("你好\n")"}, {R"("a")", R"("abcd")"}},
    {R"({"pattern":"^[a-c\"\\\\]{2}$"})", {R"("ab")", R"("\"\\")"}, {R"("a")", R"("abc")", R"("a"")"}},
    {R"({"pattern":"b"})", {R"("b")", R"("aabcc\n")"}, {R"("aa")"}},
    {R"({"type":"string","format":"date"})", {R"("2024-01-31")"}, {R"("2024-02-30")", R"("2024-13-01")"}},
    {R"({"type":"string","format":"date-time"})", {R"("2024-01-31T23:59:00Z")"}, {R"("2024-01-31")"}},
    {R"({"type":"string","format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
    {R"({"type":"integer"})", {"0", "-5", "120"}, {"01", "-0", "1.5", "", "+1"}},
    {R"({"type":"integer","minimum":-12,"maximum":305})",
     {"-12", "-9", "0", "7", "99", "100", "305"},
     {"-13", "306", "400", "1000", "-100", "-0"}},
    {R"({"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":11.5})", {"10", "11"}, {"9", "12"}},
    {R"({"type":"integer","minimum":1995})", {"1995", "2000", "123456"}, {"1994", "999", "-1"}},
    {R"({"type":"integer","maximum":-3})", {"-3", "-10"}, {"-2", "0", "3"}},
    {R"({"type":"number"})", {"0", "-1.5e+10", "12E3"}, {"1.", ".5", "1e", "NaN"}},
    {R"({"type":["boolean","null"]})", {"true", "false", "null"}, {"0"}},
    {R"({"enum":["red",1,null,{"a":[1]}]})", {R"("red")", "1", "null", R"({"a":[1]})"}, {R"("blue")", "2"}},
    {R"({"type":"string","enum":["red",1]})", {R"("red")"}, {"1"}},
    {R"({"const":"x\"y"})", {R"("x\"y")"}, {R"("x")"}},
    {R"({"type":"array"})", {"[]", "[1, [2]]", "[ ]"}, {"{}", "[1,]"}},
    {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
     {"[1]", "[1, 2,3]", "[\n  1\n]"},
     {"[]", "[1,2,3,4]", "[\"a\"]"}},
    {R"({"type":"array","items":{"type":"null"},"maxItems":0})", {"[]"}, {"[null]"}},
    {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}]})",
     {"[]", "[1]", R"([1,"a"])"},
     {R"(["a"])", R"([1,"a",2])"}},
    {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"},"minItems":2,"maxItems":4})",
     {R"([1,"a"])", R"([1,"a",null,null])"},
     {"[1]", R"([1,"a",null,null,null])", R"([1,"a",1])"}},
    {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"maxItems":1})",
     {"[]", "[1]"},
     {R"([1,"a"])"}},
    {R"({"type":"object"})", {"{}", R"({"a":1,"b":{}})"}, {"[]", R"({"a"})"}},
    {R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},"ok":{"type":"boolean"}},"required":["name"]})",
     {R"({"name":"x"})", R"({"name":"x","age":3})", R"({ "name": "x", "ok": true })",
      R"({"name":"x","age":3,"ok":false})"},
     {"{}", R"({"age":3})", R"({"age":3,"name":"x"})", R"({"name":"x","other":1})", R"({"name":"x",})"}},
    {R"({"properties":{"a":{"type":"null"},"b":{"type":"null"}}})",
     {"{}", R"({"b":null})", R"({"a":null,"b":null})"},
     {R"({,"b":null})"}},
    {R"({"type":"object","properties":{"ab":{"type":"null"},"":{"const":1}},"additionalProperties":{"type":"integer"}})",
     {"{}", R"({"ab":null})", R"({"a":1,"abc":2})", R"({"ab":null,"":1,"b":3})", R"({"你":1})"},
     {R"({"ab":1})", R"({"a":null})", R"({"":2})"}},
    {R"({"type":"object","additionalProperties":{"type":"integer"},"required":["k"]})",
     {R"({"k":1})", R"({"k":1,"l":2})"},
     {"{}", R"({"l":2})"}},
    {R"({"type":"object","properties":{},"additionalProperties":false})", {"{}", "{ }"}, {R"({"a":1})"}},
    {R"({"anyOf":[{"type":"string"},{"type":"integer"}],"title":"t","default":3})", {R"("a")", "1"}, {"null"}},
    {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k"]},
                  {"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]})",
     {R"({"k":"a","x":1})", R"({"k":"b"})"},
     {R"({"k":"b","x":1})", R"({"k":"c"})"}},
    {R"({"allOf":[{"$ref":"#/$defs/n"},{"properties":{"b":{"type":"null"}},"required":["b"]}],"$defs":{"n":{"type":"object","properties":{"a":{"type":"null"}}}}})",
     {R"({"b":null})", R"({"a":null,"b":null})"},
     {"{}"}},
    {R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/tree"}}},"required":["v"]}}})",
     {R"({"v":1})", R"({"v":1,"kids":[{"v":2,"kids":[]}]})"},
     {R"({"kids":[]})", R"({"v":1,"kids":[1]})"}},
    {R"({"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]})",
     {R"({"next":null})", R"({"next":{"next":null}})"},
     {"{}", R"({"next":{}})"}},
};

TEST(Schema, AcceptsAndRejectsByTable) {
  for (const SchemaRow& r : kSchemas) check(schema_grammar(Json::parse(r.schema)), r.schema, r.yes, r.no);
}

TEST(Schema, WhatIsNotSupportedIsNamedByItsPath) {
  const char* rows[][2] = {
      {R"({"type":"object","properties":{"a":{"type":"integer","multipleOf":2}}})", "#/properties/a/multipleOf:"},
      {R"({"type":"number","minimum":0})", "#/minimum:"},
      {R"({"type":"object","patternProperties":{}})", "#/patternProperties:"},
      {R"({"type":"string","minItems":1})", "#/minItems:"},
      {R"({"not":{}})", "#/not:"},
      {R"({"type":"array","uniqueItems":true})", "#/uniqueItems:"},
      {R"({"type":"array","items":{"type":"thing"}})", "#/items/type:"},
      {R"({"type":"string","format":"email"})", "#/format:"},
      {R"x({"type":"string","pattern":"(?=a)"})x", "#/pattern: [regex]"},
      {R"({"type":"string","pattern":"a","maxLength":3})", "#/maxLength:"},
      {R"({"$ref":"http://x"})", "#/$ref:"},
      {R"({"$ref":"#/$defs/x"})", "points to nothing"},
      {R"({"$ref":"#"})", "'#' has no end"},
      {R"({"$ref":"#/$defs/a","type":"string","$defs":{"a":{}}})", "#/type:"},
      {R"({"anyOf":[]})", "#/anyOf:"},
      {R"({"anyOf":[{"type":"null"}],"minimum":1})", "#/minimum:"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "#/oneOf/1:"},
      {R"({"allOf":[{"type":"string"},{"type":"string"}]})", "#/allOf/0/type:"},
      {R"({"properties":{"a":false}})", "#/properties/a: false"},
      {R"({"type":"string","minLength":3,"maxLength":2})", "#/minLength:"},
      {R"({"type":"string","minLength":-1})", "#/minLength:"},
      {R"({"type":"integer","minimum":3,"maximum":2})", "no integer"},
      {R"({"type":"object","required":["a"],"additionalProperties":false})", "#/required:"},
      {R"({"type":"integer","enum":["a"]})", "#/type:"},
      {R"({"minLength":1,"minItems":1})", "several types"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "'#' has no end"},
      {R"({"type":"array","maxItems":1000000})", "#/maxItems:"},
      {"3", "expected a schema"},
  };
  for (auto& [schema, want] : rows) {
    const std::string got = error_of([&] { schema_grammar(Json::parse(schema)); });
    EXPECT_NE(got.find(want), std::string::npos) << schema << "\n" << got;
  }
}

TEST(Schema, RandomAnswersAreJsonAndBelongToTheGrammar) {
  Rng rng(11);
  for (const SchemaRow& r : kSchemas) {
    const auto g = std::make_shared<const Grammar>(schema_grammar(Json::parse(r.schema)));
    auto guide = test_guide(*g);
    for (int i = 0; i < 20; ++i) {
      const auto answer = random_answer(*guide, rng);
      ASSERT_TRUE(answer.has_value()) << r.schema;
      EXPECT_TRUE(matches(g, *answer)) << r.schema << "\n" << *answer;
      const std::string error = error_of([&] { Json::parse(*answer); });
      EXPECT_TRUE(error == "accepted" || error.find("occurs twice") != std::string::npos) << *answer << "\n" << error;
    }
  }
}

// Not an assertion on time, numbers to look at: masks over InternLM2's own vocabulary.
TEST(Schema, SpeedOverInternLm2sVocabulary) {
  const char* data = std::getenv("PUYU_TEST_DATA");
  std::string path;
  if (data)
    for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(data) + "/tokenizer"))
      if (entry.path().filename().string().ends_with(".model")) path = entry.path();
  if (path.empty()) GTEST_SKIP() << "no tokenizer under PUYU_TEST_DATA/tokenizer";
  using Clock = std::chrono::steady_clock;
  auto ms = [](Clock::time_point from) {
    return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
  };
  auto now = Clock::now();
  const Tokenizer t = Tokenizer::load(path);
  auto trie = std::make_shared<const TokenTrie>(t);
  std::printf("load and trie of %zu tokens: %.1f ms\n", trie->size(), ms(now));
  const std::string text = "{\"name\":\"Ada 你好\",\"age\":36,\"tags\":[\"a\",\"bc\"]}";
  auto guide = std::make_shared<Guide>(
      schema_grammar(Json::parse(R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},
        "tags":{"type":"array","items":{"type":"string"}}},"required":["name","age","tags"]})")),
      trie, std::vector<int32_t>{2});
  for (const char* run : {"cold", "warm"}) {
    auto mask = guide->mask();
    double worst = 0, all = 0;
    const std::vector<int32_t> ids = t.encode(text);
    for (int32_t id : ids) {
      std::vector<float> logits(t.vocab_size(), 1.0f);
      now = Clock::now();
      mask->allow(logits);
      worst = std::max(worst, ms(now)), all += ms(now);
      if (t.piece_bytes(id).starts_with(' ')) continue;  // a dummy prefix
      ASSERT_TRUE(std::isfinite(logits[id])) << t.piece_bytes(id);
      mask->accept(id);
    }
    EXPECT_TRUE(mask->finished());
    std::printf("%s: %.3f ms a mask, worst %.3f\n", run, all / static_cast<double>(ids.size()), worst);
  }
}

}  // namespace
}  // namespace puyu::grammar
