// Random walks: at every step a random one of the allowed tokens is taken; whatever comes of it must be calls.
#include "serve/call_mask.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "engine/tiny_model.h"
#include "serve/answer_reader.h"
#include "serve/fields.h"

namespace puyu {
namespace {

struct World {
  Tokenizer t = tiny_tokenizer();
  std::vector<int32_t> stops = {t.eos(), t.special("<|im_end|>")};
  GuideCache guides{t, stops};
  Tools tools;
  World() {
    read_tools("tools",
               Json::parse(R"([{"type":"function","function":{"name":"add","strict":true,"parameters":)"
                           R"({"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":99},)"
                           R"("b":{"enum":["x","大"]}},"required":["a","b"]}}},)"
                           R"({"type":"function","function":{"name":"time"}}])"),
               tools);
  }
  std::shared_ptr<TokenMask> mask(std::shared_ptr<TokenMask> content = nullptr) {
    return call_mask(t, stops, tools, call_guide(tools, guides), std::move(content));
  }
  std::vector<int32_t> allowed(TokenMask& m) const {
    std::vector<float> logits(static_cast<size_t>(t.vocab_size()) + 3, 0.f);
    m.allow(logits);
    std::vector<int32_t> out;
    for (size_t i = 0; i < logits.size(); ++i)
      if (std::isfinite(logits[i])) out.push_back(static_cast<int32_t>(i));
    return out;
  }
  // A walk to the end, at most `calls` calls long.
  std::vector<AnswerPart> walk(TokenMask& m, Rng& rng, size_t calls) const {
    AnswerReader reader(t, {}, tools.names(), "id");
    std::vector<AnswerPart> parts;
    for (int i = 0; i < 2000 && !m.finished(); ++i) {
      std::vector<int32_t> ids = allowed(m);
      if (ids.empty()) break;
      int32_t id = ids[rng.below(ids.size())];
      if (parts.size() == calls && std::find(ids.begin(), ids.end(), stops[1]) != ids.end()) id = stops[1];
      if (std::find(stops.begin(), stops.end(), id) != stops.end()) break;
      m.accept(id);
      for (const AnswerEvent& e : reader.push(id)) apply(e, parts);
    }
    for (const AnswerEvent& e : reader.finish()) apply(e, parts);
    return parts;
  }
};

void expect_calls(const std::vector<AnswerPart>& parts) {
  for (const AnswerPart& p : parts) {
    ASSERT_TRUE(p.call && p.complete) << p.text;
    const Json j = Json::parse(p.text);
    if (p.name == "time") {
      EXPECT_EQ(j.size(), 0u);
    } else {
      EXPECT_EQ(p.name, "add");
      EXPECT_LE(j.at("a").as_int(), 99);
      EXPECT_TRUE(j.at("b") == Json("x") || j.at("b") == Json("大")) << p.text;
    }
  }
}

TEST(CallMask, ForcedCalls) {
  World s;
  s.tools.choice = Tools::Choice::kRequired;
  Rng rng(3);
  size_t most = 0;
  for (int round = 0; round < 40; ++round) {
    const auto parts = s.walk(*s.mask(), rng, 3);
    ASSERT_GE(parts.size(), 1u);
    expect_calls(parts);
    most = std::max(most, parts.size());
  }
  EXPECT_EQ(most, 3u);
  s.tools.parallel = false;
  for (int round = 0; round < 20; ++round) {
    const auto mask = s.mask();
    EXPECT_EQ(s.walk(*mask, rng, 3).size(), 1u);
    EXPECT_TRUE(mask->finished());
  }
  s.tools.named = "time";
  EXPECT_EQ(s.walk(*s.mask(), rng, 3)[0].name, "time");
}

TEST(CallMask, TextIsFreeUntilTheFirstCall) {
  World s;
  const auto mask = s.mask();
  EXPECT_EQ(s.allowed(*mask).size(), static_cast<size_t>(s.t.vocab_size()) + 3);
  for (int32_t id : s.t.encode("the cat")) mask->accept(id);
  EXPECT_EQ(s.allowed(*mask).size(), static_cast<size_t>(s.t.vocab_size()) + 3);
  mask->accept(s.t.special("<|action_start|>"));
  EXPECT_EQ(s.allowed(*mask), std::vector<int32_t>{s.t.special("<|plugin|>")});
  Rng rng(4);
  for (int round = 0; round < 20; ++round) {
    const auto called = s.mask();
    called->accept(s.t.special("<|action_start|>"));
    std::vector<AnswerPart> parts;
    AnswerReader reader(s.t, {}, s.tools.names(), "id");
    reader.push(s.t.special("<|action_start|>"));
    for (int i = 0; i < 500 && parts.size() < 2; ++i) {
      const auto ids = s.allowed(*called);
      const int32_t id = ids[rng.below(ids.size())];
      if (std::find(s.stops.begin(), s.stops.end(), id) != s.stops.end()) break;
      called->accept(id);
      for (const AnswerEvent& e : reader.push(id)) apply(e, parts);
    }
    ASSERT_FALSE(parts.empty());
    if (!parts.back().complete) parts.pop_back();  // stopped within the second one
    expect_calls(parts);
  }
}

TEST(CallMask, GuidedTextOrCalls) {
  World s;
  const Guided yes{Guided::Kind::kRegex, "guided_regex", Json("(ab)+c")};
  const int32_t start = s.t.special("<|action_start|>");
  Rng rng(5);
  bool text = false, calls = false;
  for (int round = 0; round < 60; ++round) {
    const auto mask = s.mask(s.guides.get(yes)->mask());
    const auto ids = s.allowed(*mask);
    EXPECT_TRUE(std::find(ids.begin(), ids.end(), start) != ids.end());
    const auto parts = s.walk(*mask, rng, 2);
    ASSERT_FALSE(parts.empty());
    if (parts[0].call) {
      calls = true;
      expect_calls(parts);
    } else {
      text = true;
      EXPECT_EQ(parts.size(), 1u);
      EXPECT_TRUE(parts[0].text.ends_with("abc")) << parts[0].text;
    }
  }
  EXPECT_TRUE(text && calls);
}

}  // namespace
}  // namespace puyu
