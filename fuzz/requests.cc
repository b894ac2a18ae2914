// Bodies of requests: what they ask for is within its limits, or an ApiError says what is wrong in valid UTF-8.
#include "base/utf8.h"
#include "engine/tiny_model.h"
#include "fuzz.h"
#include "serve/pooled.h"

using namespace puyu;

namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer t = tiny_tokenizer();
  return t;
}

void check_error(const ApiError& e) {
  expect(e.status == 400 || e.status == 404);
  expect(valid_utf8(e.what()) && valid_utf8(e.param));
  expect(Json::parse(api_error_body(e)).find("error") != nullptr);
}

void check_answers(std::string_view body, bool chat) try {
  const ApiRequest r = parse_api_request(body, chat, {"tiny", "other"}, {});
  expect(r.model == "tiny" || r.model == "other");
  expect(!r.prompts.empty() && r.prompts.size() == r.ids.size() && r.n >= 1);
  expect(r.prompts.size() * static_cast<size_t>(r.n) <= 128);
  expect(r.turn.priority >= -kMaxPriority && r.turn.priority <= kMaxPriority);
  for (const Prompt& p : r.prompts)
    if (!p.messages.empty()) encode_chat(tokenizer(), p.messages, true);
  ApiAnswer(r, r.model, "id", 0).first(0);
} catch (const ApiError& e) { check_error(e); }

void check_pooled(std::string_view body, bool score) try {
  const PooledRequest r =
      score ? parse_score(body, {"tiny"}, tokenizer()) : parse_embeddings(body, {"tiny"}, tokenizer(), 2);
  expect(!r.inputs.empty() && r.inputs.size() <= 2048);
  for (const auto& ids : r.inputs) expect(!ids.empty());
  const std::vector<std::vector<float>> values(r.inputs.size(), {1.5f, -3e-8f});
  const Json answer = Json::parse(score ? score_body(r, values) : embeddings_body(r, values));
  expect(answer.at("data").size() == r.inputs.size());
} catch (const ApiError& e) { check_error(e); }

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"model":"tiny","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"你好"}]},)"
      R"({"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},)"
      R"({"role":"tool","tool_call_id":"c1","content":"22"}],"tools":[{"type":"function","function":{"name":"f","parameters":)"
      R"({"type":"object","properties":{"a":{"type":"integer"}}}}}],"tool_choice":"auto","priority":-2,"user":"u"})",
      R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":0.7,"top_p":1,"n":2,"stop":["a","b"],"seed":-5,)"
      R"("logit_bias":{"5":-100,"7":2.5},"logprobs":true,"top_logprobs":3,"stream":true,"stream_options":{"include_usage":true}})",
      R"({"model":"other","prompt":["a",[1,2,3],"b"],"max_tokens":0,"echo":true,"logprobs":1,"min_tokens":3,"bad_words":["x"]})",
      R"({"model":"tiny","prompt":[1,2,3],"guided_regex":"a+","presence_penalty":-2,"repetition_ngram_size":3,"ignore_eos":true})",
      R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":)"
      R"({"name":"n","schema":{"type":"object"}}}})",
      R"({"model":"tiny","input":["a",[1,2],"你好"],"encoding_format":"base64","dimensions":2,"user":"me","priority":10})",
      R"({"model":"tiny","input":[[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],[{"role":"user","content":"c"}]]})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body = fuzz_bytes(data, size);
  for (const bool other : {false, true}) check_answers(body, other), check_pooled(body, other);
  return 0;
}
