// Tokens of the tiny model's vocabulary become events; the oracle is the text that was encoded.
#include "serve/answer_reader.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "engine/tiny_model.h"

namespace puyu {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer t = tiny_tokenizer();
  return t;
}
std::vector<int32_t> special(const std::string& text) { return {tokenizer().special(text)}; }
std::vector<int32_t> joined(const std::vector<std::vector<int32_t>>& parts) {
  std::vector<int32_t> out;
  for (const auto& p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}
std::vector<int32_t> call(const std::string& inside, bool closed = true) {
  return joined({special("<|action_start|>"), special("<|plugin|>"), tokenizer().encode("\n" + inside),
                 closed ? special("<|action_end|>") : std::vector<int32_t>()});
}

struct Read {
  std::vector<AnswerPart> parts;
  size_t argument_pieces = 0;
};
Read read(const std::vector<int32_t>& ids, const std::vector<std::string>& stops = {}) {
  AnswerReader reader(tokenizer(), stops, {"weather", "time"}, "id");
  Read out;
  auto take = [&](const std::vector<AnswerEvent>& events) {
    for (const AnswerEvent& e : events) {
      EXPECT_EQ(repair_utf8(e.text), e.text);  // whole characters only
      apply(e, out.parts);
      out.argument_pieces += e.kind == AnswerEvent::Kind::kArguments;
    }
  };
  for (int32_t id : ids) take(reader.push(id));
  take(reader.finish());
  return out;
}

TEST(AnswerReader, ContentThenCalls) {
  const std::string arguments = R"({"city": "上海 🐉", "a": ["}", "\\", "\"]{"], "n": {"m": [[]]}})";
  const Read r = read(
      joined({tokenizer().encode("the cat 大模型"), call(R"({"name": "weather", "parameters": )" + arguments + "}"),
              call(R"({ "name":"time","arguments":{} })")}));
  ASSERT_EQ(r.parts.size(), 3u);
  EXPECT_EQ(r.parts[0].text, tokenizer().decode(tokenizer().encode("the cat 大模型")));
  EXPECT_TRUE(r.parts[1].call && r.parts[1].complete);
  EXPECT_EQ(r.parts[1].name, "weather");
  EXPECT_EQ(r.parts[1].id, "id_0");
  EXPECT_EQ(r.parts[1].text, arguments);
  EXPECT_EQ(r.parts[2].name, "time");
  EXPECT_EQ(r.parts[2].text, "{}");
  EXPECT_GT(r.argument_pieces, 10u);  // as they come
}

TEST(AnswerReader, WhatIsNoCallIsContentAsItWasWritten) {
  for (const std::string inside : {"", "{", R"({"name":"rm","parameters":{}})", R"({"name":7})", "[1]", "the cat",
                                   R"({"name":"time","parameters":3})", R"({"parameters":{},"name":"time"})"})
    for (const bool closed : {true, false}) {
      const Read r = read(joined({tokenizer().encode("so"), call(inside, closed)}));
      ASSERT_EQ(r.parts.size(), 1u) << inside;
      EXPECT_EQ(r.parts[0].text, cat("so<|action_start|><|plugin|>\n", inside, closed ? "<|action_end|>" : ""));
    }
}

TEST(AnswerReader, ACallMayBeCutOffAnywhere) {
  const std::string inside = R"({"name": "weather", "parameters": {"city": "上海"}})";
  const std::vector<int32_t> ids = call(inside);
  for (size_t n = 0; n < ids.size(); ++n) {
    const Read r = read({ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n)});
    std::string all;
    for (const AnswerPart& p : r.parts) {
      EXPECT_EQ(p.call && p.complete, p.text == R"({"city": "上海"})") << n;
      all += p.call ? cat("<|action_start|><|plugin|>\n{\"name\": \"weather\", \"parameters\": ", p.text) : p.text;
    }
    // Half a character at the end is U+FFFD.
    const std::string want = "<|action_start|><|plugin|>\n" + inside;
    EXPECT_TRUE(want.starts_with(all.substr(0, all.find("\uFFFD")))) << all;
  }
}

TEST(AnswerReader, StopTextsEndContentAndNotCalls) {
  const Read r =
      read(joined({tokenizer().encode("see ca"), call(R"({"name":"time","parameters":{"cat":1}})")}), {"cat"});
  ASSERT_EQ(r.parts.size(), 2u);
  EXPECT_EQ(r.parts[0].text, "see ca");  // held back as a stop text's head, and before the call
  EXPECT_EQ(r.parts[1].text, R"({"cat":1})");
  AnswerReader reader(tokenizer(), {"cat"}, {"time"}, "id");
  for (int32_t id : tokenizer().encode("the cat sat")) reader.push(id);
  EXPECT_TRUE(reader.stopped());
  EXPECT_EQ(reader.stop_text(), "cat");
}

TEST(AnswerReader, WithoutToolsItsTokensAreTextlessAsAnyOther) {
  AnswerReader reader(tokenizer(), {}, {}, "id");
  std::string text;
  for (int32_t id : call("the"))
    for (const AnswerEvent& e : reader.push(id)) text += e.text;
  EXPECT_EQ(text, "\nthe");
}

TEST(AnswerReader, AnyTokensAtAll) {
  Rng rng(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i)
      ids.push_back(rng.below(5) ? static_cast<int32_t>(rng.below(static_cast<uint64_t>(tokenizer().vocab_size()) + 9))
                                 : tokenizer().special(rng.below(2) ? "<|action_start|>" : "<|action_end|>"));
    read(ids);
  }
}

}  // namespace
}  // namespace puyu
