// Bodies of requests for embeddings and scores: what they ask for is within its limits, or an ApiError says what is
// wrong in valid UTF-8.
#include "serve/pooled.h"
#include "base/utf8.h"
#include "engine/tiny_model.h"
#include "fuzz.h"
#include "serve/openai.h"

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
      R"({"model":"tiny","input":["a",[1,2],"你好"],"encoding_format":"base64","dimensions":2,"user":"me","priority":10})",
      R"({"model":"tiny","input":[[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],[{"role":"user","content":"c"}]]})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body = fuzz_bytes(data, size);
  for (const bool score : {false, true}) check_pooled(body, score);
  return 0;
}
