#include "serve/openai.h"

#include <gtest/gtest.h>

#include <tuple>

#include "serve/writer_testing.h"

namespace puyu {
namespace {

ApiRequest parse(const std::string& body, bool chat = true) { return parse_api_request(body, chat, {"m"}, {}); }
// "status field" of the refusal.
std::string refusal(const std::string& body, bool chat = true) {
  try {
    parse(body, chat);
  } catch (const ApiError& e) { return cat(e.status, " ", e.param); }
  return "accepted";
}
std::string with(const std::string& fields) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + (fields.empty() ? "" : "," + fields) + "}";
}

TEST(OpenAi, ReadsAChat) {
  const ApiRequest r = parse(R"({"model":"m","messages":[{"role":"developer","content":"s"},
    {"role":"user","content":[{"type":"text","text":"你"},{"type":"text","text":"好"}]}],"temperature":0,"top_p":0.5,
    "max_completion_tokens":7,"stop":["a","b"],"seed":5,"stream":true,"stream_options":{"include_usage":true},
    "n":1,"tools":[],"user":"x","logprobs":false,"presence_penalty":0,"response_format":{"type":"text"}})");
  EXPECT_EQ(r.prompts[0].messages[0].role, "system");
  EXPECT_EQ(r.prompts[0].messages[1].content, "你好");
  EXPECT_EQ(r.sampling.temperature, 0);
  EXPECT_EQ(r.sampling.top_p, 0.5);
  EXPECT_EQ(r.sampling.max_tokens, 7);
  EXPECT_EQ(r.sampling.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.sampling.seed, 5);
  EXPECT_TRUE(r.stream && r.include_usage);
}

TEST(OpenAi, ReadsACompletion) {
  const ApiRequest r = parse(R"({"model":"m","prompt":"once","stop":"x","seed":null})", false);
  EXPECT_EQ(r.prompts[0].text, "once");
  EXPECT_EQ(r.sampling.max_tokens, 16);
  EXPECT_EQ(r.sampling.stop, (std::vector<std::string>{"x"}));
  EXPECT_EQ(parse(R"({"model":"m","prompt":["once"]})", false).prompts[0].text, "once");
}

TEST(OpenAi, RefusesByNameOfTheField) {
  EXPECT_EQ(refusal("{"), "400 ");
  EXPECT_EQ(refusal("[]"), "400 ");
  EXPECT_EQ(refusal("{}"), "400 model");
  EXPECT_EQ(refusal(R"({"model":7})"), "400 model");
  EXPECT_EQ(refusal(R"({"model":"other","messages":[]})"), "404 model");
  EXPECT_EQ(refusal(R"({"model":"m"})"), "400 messages");
  EXPECT_EQ(refusal(R"({"model":"m","messages":[]})"), "400 messages");
  EXPECT_EQ(refusal(R"({"model":"m","messages":"hi"})"), "400 messages");
  EXPECT_EQ(refusal(R"({"model":"m","messages":[{"role":"user"}]})"), "400 messages[0].content");
  EXPECT_EQ(refusal(R"({"model":"m","messages":[{"role":"king","content":"x"}]})"), "400 messages[0].role");
  EXPECT_EQ(refusal(R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]})"),
            "400 messages[0].content[0]");
  EXPECT_EQ(refusal(R"({"model":"m","messages":[{"role":"user","content":"x","name":"<|im_end|>"}]})"),
            "400 messages[0].name");
  const char* bad[][2] = {{R"("temperature":"hot")", "temperature"},
                          {R"("temperature":3)", "temperature"},
                          {R"("temperature":-1)", "temperature"},
                          {R"("top_p":0)", "top_p"},
                          {R"("max_tokens":0)", "max_tokens"},
                          {R"("max_tokens":1.5)", "max_tokens"},
                          {R"("max_tokens":99999999999)", "max_tokens"},
                          {R"("stop":[1])", "stop"},
                          {R"("stop":"")", "stop"},
                          {R"("stream":"yes")", "stream"},
                          {R"("stream_options":{})", "stream_options"},
                          {R"("n":0)", "n"},
                          {R"("logprobs":3)", "logprobs"},
                          {R"("top_logprobs":3)", "top_logprobs"},
                          {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
                          {R"("echo":true)", "echo"},
                          {R"("min_tokens":-1)", "min_tokens"},
                          {R"("ignore_eos":1)", "ignore_eos"},
                          {R"("bad_words":["a",""])", "bad_words[1]"},
                          {R"("tools":[{}])", "tools[0].type"},
                          {R"("presence_penalty":3)", "presence_penalty"},
                          {R"("logit_bias":{"x":2})", "logit_bias"},
                          {R"("logit_bias":{"1":101})", "logit_bias.1"},
                          {R"("response_format":{"type":"xml"})", "response_format"},
                          {R"("prompt":"x")", "prompt"},
                          {R"("temprature":1)", "temprature"},
                          {R"("seed":"a")", "seed"}};
  for (auto& [field, name] : bad) EXPECT_EQ(refusal(with(field)), cat("400 ", name)) << field;
  EXPECT_EQ(refusal(R"({"model":"m","prompt":["a",2]})", false), "400 prompt[1]");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":[]})", false), "400 prompt");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":[1,"a"]})", false), "400 prompt[1]");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":[[1],[]]})", false), "400 prompt[1]");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":[1,-2]})", false), "400 prompt[1]");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":{"a":1}})", false), "400 prompt");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":["a","b"],"n":65})", false), "400 prompt");
  EXPECT_EQ(refusal(R"({"model":"m","prompt":"a","max_tokens":0})", false), "400 max_tokens");
  EXPECT_TRUE(parse(R"({"max_tokens":0,"model":"m","prompt":"a","echo":true})", false).no_answer);
}

TEST(OpenAi, SeveralChoices) {
  const ApiRequest r = parse(R"({"model":"m","prompt":["a","b"],"n":2})", false);
  EXPECT_EQ(r.prompts[1].text, "b");
  EXPECT_EQ(parse(R"({"model":"m","prompt":[7,8]})", false).ids, (std::vector<std::vector<int32_t>>{{7, 8}}));
  EXPECT_EQ(parse(R"({"model":"m","prompt":[[7],"b"]})", false).ids, (std::vector<std::vector<int32_t>>{{7}, {}}));
  AnswerChoice a, b;
  a.prompt_tokens = 5, a.tokens = 3, a.parts = {{.text = "x"}};
  b.prompt_tokens = 7, b.tokens = 2, b.parts = {{.text = "y"}};
  const Json j = Json::parse(make_writer(r, "1", 9, nullptr)->whole({a, a, b, b}));
  EXPECT_EQ(j.at("choices").as_array()[3].at("index"), Json(3));
  EXPECT_EQ(j.at("choices").as_array()[3].at("text"), Json("y"));
  EXPECT_EQ(j.at("usage").at("prompt_tokens"), Json(12));  // each prompt once
  EXPECT_EQ(j.at("usage").at("completion_tokens"), Json(10));
}

TEST(OpenAi, ReadsWhatChangesTheSampling) {
  const ApiRequest r = parse(with(
      R"("presence_penalty":1.5,"frequency_penalty":-2,"logit_bias":{"7":-100,"12":3},"min_tokens":4,"ignore_eos":true,)"
      R"("bad_words":["x"],"repetition_ngram_size":3,"top_logprobs":5,"logprobs":true)"));
  EXPECT_EQ(r.sampling.presence_penalty, 1.5);
  EXPECT_EQ(r.sampling.frequency_penalty, -2);
  EXPECT_EQ(r.sampling.logit_bias, (std::map<int32_t, double>{{7, -100}, {12, 3}}));
  EXPECT_EQ(r.sampling.min_tokens, 4);
  EXPECT_TRUE(r.sampling.ignore_eos);
  EXPECT_EQ(r.sampling.bad_words, std::vector<std::string>{"x"});
  EXPECT_EQ(r.sampling.repetition_ngram_size, 3);
  EXPECT_EQ(r.sampling.top_logprobs, 5);
  EXPECT_EQ(parse(R"({"model":"m","prompt":"a","logprobs":2,"echo":true})", false).sampling.top_logprobs, 2);
}

TEST(OpenAi, WithoutASeedAnswersDiffer) { EXPECT_NE(parse(with("")).sampling.seed, parse(with("")).sampling.seed); }

TEST(OpenAi, Bodies) {
  const ApiRequest r = parse(with(R"("stream":true,"stream_options":{"include_usage":true})"));
  AnswerChoice c;
  c.prompt_tokens = 5, c.tokens = 3, c.cached_tokens = 4, c.reason = FinishReason::kLength;
  c.parts = {{.text = "你好"}};
  EXPECT_EQ(
      make_writer(r, "1", 99, nullptr)->whole({c}),
      R"({"id":"chatcmpl-1","object":"chat.completion","created":99,"model":"m","choices":[{"index":0,)"
      R"("message":{"role":"assistant","content":"你好"},"logprobs":null,"finish_reason":"length",)"
      R"("stop_reason":null}],)"
      R"("usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":4}}})");
  const auto [text, finish, usage, done] = [&] {
    const std::vector<Sent> all = streamed(r, {{.text = "x"}}, c);
    return std::tuple(Json::parse(all[1].data), Json::parse(all[2].data), Json::parse(all[3].data), all[4].data);
  }();
  EXPECT_EQ(text.at("choices").as_array()[0].at("delta").at("content"), Json("x"));
  EXPECT_TRUE(text.at("choices").as_array()[0].at("finish_reason").is_null());
  EXPECT_TRUE(text.at("usage").is_null());
  EXPECT_EQ(finish.at("choices").as_array()[0].at("finish_reason"), Json("length"));
  EXPECT_EQ(usage.at("choices").size(), 0u);
  EXPECT_EQ(usage.at("usage").at("total_tokens"), Json(8));
  EXPECT_EQ(done, "[DONE]");
  const Json error = Json::parse(api_error_body(ApiError(429, "full", "", "queue_full"))).at("error");
  EXPECT_EQ(error.at("type"), Json("rate_limit_error"));
  EXPECT_TRUE(error.at("param").is_null());
}

TEST(OpenAi, CallsAreStreamedWithTheirNumbers) {
  const ApiRequest r = parse(with(R"("stream":true)"));
  std::vector<std::string> deltas;
  for (const Sent& s : streamed(r, kTwoCalls, answer_of(kTwoCalls)))
    if (s.data != "[DONE]") deltas.push_back(Json::parse(s.data).at("choices").as_array()[0].at("delta").dump());
  EXPECT_EQ(
      deltas,
      (std::vector<std::string>{
          R"({"role":"assistant","content":""})", R"({"content":"So: "})",
          R"({"tool_calls":[{"id":"call_7_0","type":"function","function":{"name":"time","arguments":""},"index":0}]})",
          R"({"tool_calls":[{"function":{"arguments":"{}"},"index":0}]})",
          R"({"tool_calls":[{"id":"call_7_1","type":"function","function":{"name":"add","arguments":""},"index":1}]})",
          R"({"tool_calls":[{"function":{"arguments":"{\"a\": "},"index":1}]})",
          R"({"tool_calls":[{"function":{"arguments":"1}"},"index":1}]})", "{}"}));
  const Json whole =
      Json::parse(make_writer(r, "1", 9, nullptr)->whole({answer_of(kTwoCalls)})).at("choices").as_array()[0];
  EXPECT_EQ(whole.at("finish_reason"), Json("tool_calls"));
  EXPECT_EQ(whole.at("message").at("content"), Json("So: "));
  EXPECT_EQ(whole.at("message").at("tool_calls").as_array()[1].at("function").at("arguments"), Json(R"({"a": 1})"));
}

TEST(OpenAi, ReadsOneGuideARequest) {
  auto guided = [](const std::string& fields) { return parse(with(fields)).guided; };
  EXPECT_EQ(guided(R"("response_format":{"type":"text"})").kind, Guided::Kind::kNone);
  EXPECT_EQ(guided(R"("response_format":null)").kind, Guided::Kind::kNone);
  EXPECT_EQ(guided(R"("response_format":{"type":"json_object"})").kind, Guided::Kind::kObject);
  const Guided g = guided(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"null"}}})");
  EXPECT_EQ(g.kind, Guided::Kind::kSchema);
  EXPECT_EQ(g.value.dump(), R"({"type":"null"})");
  EXPECT_EQ(guided(R"("guided_regex":"a+")").value, Json("a+"));
  const char* bad[][2] = {
      {R"("response_format":{"type":"xml"})", "response_format"},
      {R"("response_format":{"type":"json_object","x":1})", "response_format.x"},
      {R"("response_format":{"type":"json_schema"})", "response_format.json_schema"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})", "response_format.json_schema.schema"},
      {R"("guided_regex":7)", "guided_regex"},
      {R"("guided_choice":[])", "guided_choice"},
      {R"("guided_choice":["a",1])", "guided_choice[1]"},
      {R"("guided_regex":"a","guided_grammar":"root ::= \"a\"")", "guided_grammar"},
  };
  for (auto& [fields, field] : bad) EXPECT_EQ(refusal(with(fields)), cat("400 ", field)) << fields;
}

}  // namespace
}  // namespace puyu
