// Bodies of /tokenize and /detokenize: a text is what its ids say again, and the rest ends in an ApiError.
#include "serve/tokens.h"

#include "base/utf8.h"
#include "engine/tiny_model.h"
#include "fuzz.h"
#include "serve/fields.h"

using namespace puyu;

namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer t = tiny_tokenizer();
  return t;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"prompt":"the cat sat on the mat, 大模型 🐉","add_special_tokens":false})",
          R"({"prompt":"","model":"m"})", R"({"tokens":[1,5,300,2,17],"model":"m"})", R"({"tokens":[]})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body = fuzz_bytes(data, size);
  try {
    const Json out = Json::parse(tokenize_body(tokenizer(), 100, body));
    expect(out.at("count").as_int() == static_cast<int64_t>(out.at("tokens").size()));
    Json back = Json::object();
    back["tokens"] = out.at("tokens");
    const Json text = Json::parse(detokenize_body(tokenizer(), back.dump()));
    expect(text.at("prompt") == Json::parse(body).at("prompt"));
  } catch (const ApiError& e) { expect(e.status == 400 && valid_utf8(e.what())); }
  try {
    expect(Json::parse(detokenize_body(tokenizer(), body)).at("prompt").is_string());
  } catch (const ApiError& e) { expect(e.status == 400 && valid_utf8(e.what())); }
  return 0;
}
