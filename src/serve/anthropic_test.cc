#include "serve/anthropic.h"

#include <gtest/gtest.h>

#include "serve/writer_testing.h"

namespace puyu {
namespace {

const std::string kHello = R"("messages":[{"role":"user","content":"hi"}])";

ApiRequest parse(const std::string& fields, bool count = false) {
  return parse_messages_request(cat(R"({"model":"m",)", fields, "}"), count, {"m"}, {});
}
std::string refusal(const std::string& fields) {
  try {
    parse(fields);
  } catch (const ApiError& e) { return e.param; }
  return "accepted";
}

TEST(Anthropic, BlocksBecomeTurns) {
  const ApiRequest r = parse(
      R"("max_tokens":5,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[)"
      R"({"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[)"
      R"({"type":"text","text":"so"},{"type":"tool_use","id":"a","name":"f","input":{"x":1}},)"
      R"({"type":"tool_use","id":"b","name":"g","input":{}}]},{"role":"user","content":[)"
      R"({"type":"tool_result","tool_use_id":"b","content":"2","is_error":true},)"
      R"({"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"1"}]},{"type":"text","text":"and?"}]}],)"
      R"("temperature":1,"top_k":5,"stop_sequences":["x"])");
  const std::vector<Message>& m = r.prompts[0].messages;
  ASSERT_EQ(m.size(), 6u);
  EXPECT_EQ(m[0].role + m[0].content, "systems");
  EXPECT_EQ(m[2].calls, (std::vector<std::string>{R"({"name": "f", "parameters": {"x":1}})",
                                                  R"({"name": "g", "parameters": {}})"}));
  EXPECT_EQ(m[3].role + m[3].content, "environment1");
  EXPECT_EQ(m[4].content, R"({"error":"2"})");
  EXPECT_EQ(m[5].role + m[5].content, "userand?");
  EXPECT_EQ(r.sampling.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(r.sampling.top_k, 5);
  EXPECT_EQ(parse(kHello, true).prompts[0].messages[0].content, "hi");
}

TEST(Anthropic, ToolChoices) {
  const std::string tools = kHello + R"(,"max_tokens":5,"tools":[{"name":"f","input_schema":{"type":"object"}},)"
                                     R"({"name":"g","input_schema":{"type":"object"}}],"tool_choice":)";
  EXPECT_TRUE(parse(tools + R"({"type":"any"})").tools.forced());
  EXPECT_TRUE(parse(tools + R"({"type":"auto"})").tools.parallel);
  EXPECT_FALSE(parse(tools + R"({"type":"auto","disable_parallel_tool_use":true})").tools.parallel);
  EXPECT_EQ(parse(tools + R"({"type":"tool","name":"g"})").tools.names(), std::set<std::string>{"g"});
  EXPECT_FALSE(parse(tools + R"({"type":"none"})").tools.offered());
}

TEST(Anthropic, RefusesByNameOfTheField) {
  const char* bad[][2] = {
      {R"("max_tokens":5)", "messages"},
      {R"("messages":[{"role":"user","content":"hi"}])", "max_tokens"},
      {R"("max_tokens":5,"messages":[])", "messages"},
      {R"("max_tokens":5,"messages":[{"role":"user","content":[]}])", "messages[0].content"},
      {R"("max_tokens":5,"messages":[{"role":"user","content":[7]}])", "messages[0].content[0]"},
      {R"("max_tokens":5,"messages":[{"role":"user","content":"a","name":"x"}])", "messages[0].name"},
      {R"("max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"a"},)"
       R"({"type":"tool_result","tool_use_id":"a"}]}])",
       "messages[0].content[1]"},
      {R"("max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a",)"
       R"("name":"f","input":[]}]},{"role":"user","content":"x"}])",
       "messages[0].content[0].input"}};
  for (auto& [fields, field] : bad) EXPECT_EQ(refusal(fields), field) << fields;
  const char* more[][2] = {{R"("temperature":2)", "temperature"},
                           {R"("stop":"x")", "stop"},
                           {R"("stop_sequences":["a",""])", "stop_sequences[1]"},
                           {R"("thinking":{"type":"adaptive"})", "thinking"},
                           {R"("tool_choice":{"type":"any"})", "tool_choice"},
                           {R"("tools":[{"type":"bash_20250124","name":"bash"}])", "tools[0].type"},
                           {R"("output_config":{"effort":"low"})", "output_config.effort"},
                           {R"("container":"c")", "container"}};
  for (auto& [fields, field] : more) EXPECT_EQ(refusal(kHello + R"(,"max_tokens":5,)" + fields), field) << fields;
}

TEST(Anthropic, EventsOfTextAndCalls) {
  const ApiRequest r = parse(kHello + R"(,"max_tokens":5,"stream":true)");
  std::vector<std::string> said;
  for (const Sent& s : streamed(r, kTwoCalls, answer_of(kTwoCalls))) {
    EXPECT_EQ(Json::parse(s.data).at("type"), Json(s.name));
    said.push_back(s.data);
  }
  ASSERT_EQ(said.size(), 13u);
  EXPECT_EQ(said[1], R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})");
  EXPECT_EQ(said[3], R"({"type":"content_block_stop","index":0})");
  EXPECT_EQ(said[7], R"({"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_7_1",)"
                     R"("name":"add","input":{}}})");
  EXPECT_EQ(
      said[8],
      R"({"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}})");
  EXPECT_EQ(said[11],
            R"({"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":)"
            R"({"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":6}})");
  const Json whole = Json::parse(make_writer(r, "1", 99, nullptr)->whole({answer_of(kTwoCalls)}));
  EXPECT_EQ(whole.at("content").as_array()[2].at("input").dump(), R"({"a":1})");
}

TEST(Anthropic, WhyAnAnswerEnded) {
  const ApiRequest r = parse(kHello + R"(,"max_tokens":5)");
  const auto reason = [&](const AnswerChoice& c) {
    return Json::parse(make_writer(r, "1", 99, nullptr)->whole({c})).at("stop_reason").as_string();
  };
  AnswerChoice c;
  EXPECT_EQ(reason(c), "end_turn");
  c.stop_text = "x";
  EXPECT_EQ(reason(c), "stop_sequence");
  c.reason = FinishReason::kLength, c.stop_text = "";
  EXPECT_EQ(reason(c), "max_tokens");
  c.full = true;
  EXPECT_EQ(reason(c), "model_context_window_exceeded");
  c.parts = {{.call = true, .text = "{\"a", .id = "i", .name = "f", .complete = false}};  // not lost
  EXPECT_EQ(Json::parse(make_writer(r, "1", 99, nullptr)->whole({c})).at("content").as_array()[0].at("text"),
            Json("<|action_start|><|plugin|>\n{\"name\": \"f\", \"parameters\": {\"a"));
}

TEST(Anthropic, ArgumentsThatAreNoJsonAreText) {
  const ApiRequest r = parse(kHello + R"(,"max_tokens":5)");
  AnswerChoice c;
  c.parts = {{.call = true, .text = R"({"a":1,"a":2})", .id = "i", .name = "f"}};
  EXPECT_EQ(Json::parse(make_writer(r, "1", 99, nullptr)->whole({c})).at("content").as_array()[0].at("type"),
            Json("text"));
}

TEST(Anthropic, Errors) {
  EXPECT_EQ(anthropic_error_body(ApiError(404, "no", "model")),
            R"({"type":"error","error":{"type":"not_found_error","message":"no"}})");
  const auto x = std::make_shared<RecordingExchange>();
  make_writer(parse(kHello + R"(,"max_tokens":5,"stream":true)"), "1", 99, x)->fail(ApiError(503, "gone"));
  EXPECT_TRUE(x->ended);
  EXPECT_EQ(x->sent[0].name, "error");
  EXPECT_EQ(x->sent[0].data, R"({"type":"error","error":{"type":"overloaded_error","message":"gone"}})");
}

}  // namespace
}  // namespace puyu
