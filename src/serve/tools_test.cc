// Tools and calls between OpenAI's bodies and InternLM2's turns.
#include "serve/tools.h"

#include <gtest/gtest.h>

#include "engine/tiny_model.h"
#include "serve/openai.h"

namespace puyu {
namespace {

const std::string kTools =
    R"("tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object",)"
    R"("properties":{"city":{"type":"string"}},"required":["city"]}}},{"type":"function","function":{"name":"time"}}])";

ApiRequest parse(const std::string& more, const std::string& messages = R"([{"role":"user","content":"x"}])") {
  return parse_api_request(cat(R"({"model":"m","messages":)", messages, ",", more, "}"), true, {"m"}, {});
}
std::string refusal(const std::string& more) {
  try {
    parse(more);
    return "accepted";
  } catch (const ApiError& e) { return e.param; }
}

TEST(Tools, BecomeASystemTurn) {
  const ApiRequest r = parse(kTools);
  const Message& m = r.prompts[0].messages[0];
  EXPECT_EQ(m.role, "system");
  EXPECT_EQ(m.name, "<|plugin|>");
  EXPECT_EQ(
      m.content,
      R"([{"name":"weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}},)"
      R"("required":["city"]}},{"name":"time","description":"","parameters":{"type":"object"}}])"
      "\n");
  EXPECT_EQ(parse(kTools + R"(,"tool_choice":"none")").prompts[0].messages.size(), 1u);
  EXPECT_EQ(parse(R"("tools":[])").prompts[0].messages.size(), 1u);
  // After the caller's own system turn.
  const auto both =
      parse(kTools, R"([{"role":"system","content":"s"},{"role":"user","content":"x"}])").prompts[0].messages;
  EXPECT_EQ(both[0].content, "s");
  EXPECT_EQ(both[1].name, "<|plugin|>");
}

TEST(Tools, CallsAndResultsInTheHistory) {
  const auto m =
      parse(kTools, R"([{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1",)"
                    R"("type":"function","function":{"name":"weather","arguments":"{\"city\": \"上海\"}"}}]},)"
                    R"({"role":"tool","tool_call_id":"c1","content":"22"}])")
          .prompts[0]
          .messages;
  EXPECT_EQ(m[2].calls, std::vector<std::string>{R"({"name": "weather", "parameters": {"city":"上海"}})"});
  EXPECT_EQ(m[3].role, "environment");
  EXPECT_EQ(m[3].name, "<|plugin|>");
  const Tokenizer t = tiny_tokenizer();
  EXPECT_EQ(t.decode(encode_chat(t, m, false), true).substr(t.decode(encode_chat(t, {m[0], m[1]}, false), true).size()),
            "<|im_start|>assistant\n<|action_start|><|plugin|>\n{\"name\": \"weather\", \"parameters\": "
            "{\"city\":\"上海\"}}<|action_end|><|im_end|>\n<|im_start|>environment name=<|plugin|>\n22<|im_end|>\n");
}

TEST(Tools, WhatIsMalformedIsRefusedByName) {
  EXPECT_EQ(refusal(R"("tools":7)"), "tools");
  EXPECT_EQ(refusal(R"("tools":[{"type":"x"}])"), "tools[0].type");
  EXPECT_EQ(refusal(R"("tools":[{"type":"function","function":{}}])"), "tools[0].function.name");
  EXPECT_EQ(refusal(R"("tools":[{"type":"function","function":{"name":"a","parameters":3}}])"),
            "tools[0].function.parameters");
  EXPECT_EQ(refusal(R"("tool_choice":"required")"), "tool_choice");
  EXPECT_EQ(refusal(kTools + R"(,"tool_choice":{"type":"function","function":{"name":"no"}})"),
            "tool_choice.function.name");
  EXPECT_EQ(refusal(kTools + R"(,"tool_choice":"required","guided_regex":"a")"), "tool_choice");
}

TEST(Tools, CallsOfTheModel) {
  const Tools t = parse(kTools).tools;
  const auto c = parse_call(R"({"name": "weather", "parameters": {"city": "x"}})", t);
  ASSERT_TRUE(c);
  EXPECT_EQ(c->name, "weather");
  EXPECT_EQ(c->arguments, R"({"city":"x"})");
  EXPECT_EQ(parse_call(R"({"name":"time"})", t)->arguments, "{}");
  for (const char* broken : {"", "{", R"({"name":"rm"})", R"({"name":7})", R"({"name":"time","parameters":3})", "[1]"})
    EXPECT_FALSE(parse_call(broken, t)) << broken;
}

}  // namespace
}  // namespace puyu
