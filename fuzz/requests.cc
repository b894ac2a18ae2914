// Bodies of the serving APIs, and answers of any tokens: a body is read or refused with its reason, and whatever a
// model writes becomes JSON in every API's shape.
#include "base/error.h"
#include "base/utf8.h"
#include "engine/tiny_model.h"
#include "fuzz.h"
#include "serve/answer_reader.h"
#include "serve/anthropic.h"
#include "serve/openai.h"
#include "serve/responses.h"
#include "serve/writer_testing.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  const std::string schema = R"({"type":"object","properties":{"a":{"type":"integer"}}})";
  const std::string calls =
      R"([{"id":"a","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool",)";
  return {
      cat(R"(c{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant",)",
          R"("tool_calls":)", calls, R"("tool_call_id":"a","content":"1"}],"tools":[{"type":"function","function":)",
          R"({"name":"f","strict":true,"parameters":)", schema,
          R"(}}],"tool_choice":"required","logit_bias":{"1":2}})"),
      R"(p{"model":"m","prompt":["a",[1,2]],"n":2,"logprobs":3,"echo":true,"stop":["x"],"guided_regex":"a+"})",
      cat(R"(r{"model":"m","instructions":"s","input":[{"role":"user","content":"q"},{"type":"function_call",)",
          R"("call_id":"a","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"a","output":"1"}],)",
          R"("text":{"format":{"type":"json_schema","name":"n","schema":)", schema, R"(}},"store":false,"tools":[]})"),
      cat(R"(a{"model":"m","max_tokens":5,"system":"s","messages":[{"role":"user","content":"q"},{"role":"assistant",)",
          R"("content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":)",
          R"("tool_result","tool_use_id":"a","content":"1"}]}],"tools":[{"name":"f","input_schema":)", schema,
          R"(}],"tool_choice":{"type":"tool","name":"f"},"stop_sequences":["x"]})"),
      R"(tthe cat#{"name": "f", "parameters": {"a": ["}", {"b": "\\"}]}}$#{"name":"g","arguments":{}}$)"};
}

namespace {

std::optional<ApiRequest> read(char api, std::string_view body) {
  try {
    const ModelNames models = {"m"};
    if (api == 'r') return parse_responses_request(body, models, {});
    if (api == 'a') return parse_messages_request(body, false, models, {});
    return parse_api_request(body, api == 'c', models, {});
  } catch (const ApiError& e) {
    expect(e.status == 400 || e.status == 404);
    expect(valid_utf8(api == 'a' ? anthropic_error_body(e) : api_error_body(e)));
    return std::nullopt;
  }
}

// The text as tokens, # and $ as those around a call.
std::vector<AnswerEvent> written(std::string_view text) {
  static const Tokenizer t = tiny_tokenizer();
  AnswerReader reader(t, {"stop"}, {"f", "g"}, "id");
  std::vector<AnswerEvent> out;
  auto take = [&](std::vector<AnswerEvent> events) {
    for (AnswerEvent& e : events) {
      expect(valid_utf8(e.text));
      out.push_back(std::move(e));
    }
  };
  for (const char c : text) {
    if (c == '#' || c == '$')
      take(reader.push(t.special(c == '#' ? "<|action_start|>" : "<|action_end|>")));
    else
      for (int32_t id : t.encode(std::string_view(&c, 1))) take(reader.push(id));
    if (reader.stopped()) break;
  }
  take(reader.finish());
  return out;
}

void answer(std::string_view text) {
  static const std::vector<ApiRequest> requests = [] {
    std::vector<ApiRequest> out = {
        *read('c', R"({"model":"m","stream":true,"messages":[{"role":"user","content":"q"}]})"),
        *read('r', R"({"model":"m","stream":true,"input":"q"})"),
        *read('a', R"({"model":"m","stream":true,"max_tokens":5,"messages":[{"role":"user","content":"q"}]})")};
    return out;
  }();
  const std::vector<AnswerEvent> events = written(text);
  const AnswerChoice choice = answer_of(events);
  for (const ApiRequest& r : requests) {
    Json::parse(make_writer(r, "1", 9, nullptr)->whole({choice}));
    const std::vector<Sent> sent = streamed(r, events, choice);
    expect(!sent.empty());
    for (const Sent& s : sent)
      if (s.data != "[DONE]") Json::parse(s.data);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz_bytes(data + 1, size - 1);
  if (data[0] == 't')
    answer(text);
  else
    read(static_cast<char>(data[0]), text);
  return 0;
}
