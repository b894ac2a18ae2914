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
      R"("required":["city"]}},{"name":"time","description":"","parameters":{"type":"object","properties":{}}}])"
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
  EXPECT_EQ(refusal(kTools + R"(,"tool_choice":{"type":"function","function":{"name":"no"}})"), "tool_choice");
  EXPECT_EQ(refusal(kTools + R"(,"tool_choice":{"type":"function"})"), "tool_choice.function");
  EXPECT_EQ(refusal(kTools + R"(,"parallel_tool_calls":1)"), "parallel_tool_calls");
  EXPECT_EQ(refusal(R"("tools":[{"type":"function","function":{"name":"a","parameters":{"type":"string"}}}])"),
            "tools[0].function.parameters.type");
  EXPECT_EQ(refusal(kTools + R"(,"tool_choice":"required","guided_regex":"a")"), "tool_choice");
}

TEST(Tools, ResultsStandInTheOrderOfTheirCalls) {
  const std::string call = R"({"id":"%","type":"function","function":{"name":"time","arguments":"{}"}})";
  const auto calls = [&](const char* a, const char* b) {
    std::string x = call, y = call;
    return cat(R"({"role":"assistant","content":"two","tool_calls":[)", x.replace(x.find('%'), 1, a), ",",
               y.replace(y.find('%'), 1, b), "]}");
  };
  const auto result = [](const char* id) {
    return cat(R"(,{"role":"tool","tool_call_id":")", id, R"(","content":"of )", id, "\"}");
  };
  const auto turns = [&](const std::string& more) {
    return parse(kTools, cat(R"([{"role":"user","content":"x"},)", calls("a", "b"), more, "]")).prompts[0].messages;
  };
  const auto m = turns(result("b") + result("a"));
  EXPECT_EQ(m[2].calls.size(), 2u);
  EXPECT_EQ(m[2].content, "two");
  EXPECT_EQ(m[3].content, "of a");
  EXPECT_EQ(m[4].content, "of b");
  for (const std::string& more : {result("c"), result("a") + result("a"), cat(",", calls("c", "d"), result("a")),
                                  std::string(R"(,{"role":"user","content":"y"})") + result("a") + result("a")})
    try {
      turns(more);
      ADD_FAILURE() << more;
    } catch (const ApiError& e) { EXPECT_TRUE(e.param.ends_with("].tool_call_id")) << e.param; }
}

std::shared_ptr<grammar::Guide> guide_of(const std::string& more) {
  static const Tokenizer t = tiny_tokenizer();
  GuideCache guides(t, {});
  return call_guide(parse(more).tools, guides);
}

TEST(Tools, ASchemaThatNoGrammarHoldsIsRefusedWhenStrict) {
  const std::string odd = R"({"type":"object","properties":{"n":{"type":"number","multipleOf":2}}})";
  const auto tool = [&](const char* strict, const std::string& schema) {
    return cat(R"("tools":[{"type":"function","function":{"name":"f","strict":)", strict, R"(,"parameters":)", schema,
               "}}]");
  };
  EXPECT_TRUE(guide_of(tool("false", odd)));
  try {
    guide_of(tool("true", odd));
    ADD_FAILURE();
  } catch (const ApiError& e) {
    EXPECT_EQ(e.param, "tools[0].function.parameters");
    EXPECT_NE(std::string(e.what()).find("#/properties/n/multipleOf"), std::string::npos) << e.what();
  }
  // References within a tool's own schema, and a property that is called like a keyword.
  EXPECT_TRUE(guide_of(tool("true", R"({"type":"object","properties":{"default":{"$ref":"#/$defs/t"}},)"
                                    R"("$defs":{"t":{"type":"array","items":{"$ref":"#/$defs/t"}}}})")));
}

}  // namespace
}  // namespace puyu
