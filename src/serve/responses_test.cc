#include "serve/responses.h"

#include <gtest/gtest.h>

#include "serve/writer_testing.h"

namespace puyu {
namespace {

ApiRequest parse(const std::string& fields) {
  return parse_responses_request(cat(R"({"model":"m",)", fields, "}"), {"m"}, {});
}
std::string refusal(const std::string& fields) {
  try {
    parse(fields);
  } catch (const ApiError& e) { return e.param; }
  return "accepted";
}

TEST(Responses, ItemsBecomeTurns) {
  const ApiRequest r = parse(
      R"("instructions":"s","input":[{"role":"user","content":"q"},)"
      R"({"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text",)"
      R"("text":"so","annotations":[]}]},{"type":"function_call","id":"fc_1","call_id":"a","name":"f","arguments":"{}"},)"
      R"({"type":"function_call","call_id":"b","name":"g","arguments":"{\"x\":1}"},)"
      R"({"type":"function_call_output","call_id":"b","output":"2"},)"
      R"({"type":"function_call_output","call_id":"a","output":[{"type":"input_text","text":"1"}]}],)"
      R"("max_output_tokens":7,"temperature":0.5,"seed":4,"stream":true,"store":false)");
  const std::vector<Message>& m = r.prompts[0].messages;
  ASSERT_EQ(m.size(), 5u);
  EXPECT_EQ(m[0].role + m[0].content, "systems");
  EXPECT_EQ(m[2].content, "so");
  EXPECT_EQ(m[2].calls, (std::vector<std::string>{R"({"name": "f", "parameters": {}})",
                                                  R"({"name": "g", "parameters": {"x":1}})"}));
  EXPECT_EQ(m[3].content, "1");  // in the order of the calls
  EXPECT_EQ(m[4].content, "2");
  EXPECT_EQ(r.sampling.max_tokens, 7);
  EXPECT_EQ(r.sampling.seed, 4);
  EXPECT_TRUE(r.stream);
  EXPECT_EQ(parse(R"("input":"q")").prompts[0].messages[0].content, "q");
}

TEST(Responses, ToolsStandFlat) {
  const ApiRequest r =
      parse(R"("input":"q","tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],)"
            R"("tool_choice":{"type":"function","name":"f"},"parallel_tool_calls":false)");
  EXPECT_TRUE(r.tools.forced() && r.tools.list[0].strict && !r.tools.parallel);
  EXPECT_EQ(r.tools.names(), std::set<std::string>{"f"});
  EXPECT_EQ(r.prompts[0].messages[0].name, "<|plugin|>");
}

TEST(Responses, RefusesByNameOfTheField) {
  const char* bad[][2] = {
      {R"("stream":true)", "input"},
      {R"("input":7)", "input"},
      {R"("input":"q","store":true)", "store"},
      {R"("input":"q","background":true)", "background"},
      {R"("input":"q","previous_response_id":"r")", "previous_response_id"},
      {R"("input":"q","max_tokens":3)", "max_tokens"},
      {R"("input":"q","stop":"x")", "stop"},
      {R"("input":"q","text":{"verbosity":"low"})", "text.verbosity"},
      {R"("input":"q","text":{"format":{"type":"xml"}})", "text.format.type"},
      {R"("input":"q","text":{"format":{"type":"json_schema","name":"n"}})", "text.format.schema"},
      {R"("input":"q","tools":[{"type":"function","name":"f","x":1}])", "tools[0].x"},
      {R"("input":[{"role":"user","content":"q","x":1}])", "input[0].x"},
      {R"("input":[{"role":"tool","content":"q"}])", "input[0].role"},
      {R"("input":[{"type":"function_call","call_id":"a","name":"f","arguments":"["}])", "input[0].arguments"},
      {R"("input":[{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},)"
       R"({"type":"function_call","call_id":"a","name":"f","arguments":"{}"}])",
       "input[1].call_id"},
      {R"("input":"q","reasoning":{"effort":"low"})", "reasoning"},
      {R"("input":"q","stream_options":{"include_obfuscation":true})", "stream_options"},
      {R"("input":"q","unknown":1)", "unknown"}};
  for (auto& [fields, field] : bad) EXPECT_EQ(refusal(fields), field) << fields;
}

TEST(Responses, EventsOfTextAndCalls) {
  const ApiRequest r = parse(R"("input":"q","stream":true)");
  std::vector<std::string> names;
  Json last;
  for (const Sent& s : streamed(r, kTwoCalls, answer_of(kTwoCalls))) {
    last = Json::parse(s.data);
    EXPECT_EQ(last.at("type"), Json(s.name));
    EXPECT_EQ(last.at("sequence_number"), Json(names.size()));
    names.push_back(s.name.substr(9));
  }
  const std::string call = "function_call_arguments.";
  EXPECT_EQ(names, (std::vector<std::string>{"created", "in_progress", "output_item.added", "content_part.added",
                                             "output_text.delta", "output_text.done", "content_part.done",
                                             "output_item.done", "output_item.added", call + "delta", call + "done",
                                             "output_item.done", "output_item.added", call + "delta", call + "delta",
                                             call + "done", "output_item.done", "completed"}));
  // The last event holds what the whole answer is.
  EXPECT_EQ(last.at("response"), Json::parse(make_writer(r, "1", 99, nullptr)->whole({answer_of(kTwoCalls)})));
  const Json& output = last.at("response").at("output");
  EXPECT_EQ(output.as_array()[2].dump(),
            R"({"id":"fc_1_2","type":"function_call","status":"completed","call_id":"call_7_1","name":"add",)"
            R"("arguments":"{\"a\": 1}"})");
  EXPECT_EQ(last.at("response").at("usage").dump(),
            R"({"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":6,)"
            R"("output_tokens_details":{"reasoning_tokens":0},"total_tokens":15})");
}

TEST(Responses, AFailureEndsTheStream) {
  const auto x = std::make_shared<RecordingExchange>();
  make_writer(parse(R"("input":"q","stream":true)"), "1", 99, x)->fail(ApiError(503, "gone"));
  ASSERT_TRUE(x->ended);
  EXPECT_EQ(x->sent[0].name, "response.failed");
  EXPECT_EQ(Json::parse(x->sent[0].data).at("response").at("error").at("message"), Json("gone"));
}

}  // namespace
}  // namespace puyu
