// OpenAI's API as data: request bodies in, response bodies out, no sockets. What we cannot do is refused by the name of
// the field, never ignored. docs/formats.d/serve.md lists the fields.
#pragma once
#include <string>

#include "engine/generator.h"
#include "serve/fields.h"
#include "serve/guided.h"
#include "serve/tools.h"

namespace puyu {

struct ApiRequest {
  bool chat = true;
  std::string model;                      // one of ModelNames
  std::vector<Prompt> prompts;            // one, but for completions of a list
  std::vector<std::vector<int32_t>> ids;  // of each prompt, where it was sent as ids; else empty
  int64_t n = 1;                          // answers to each; choice i answers prompts[i / n]
  SamplingOptions sampling;
  bool stream = false, include_usage = false;
  bool echo = false;       // completions: the prompt stands before the answer, with its log-probs
  bool no_answer = false;  // max_tokens 0: the prompt alone
  Guided guided;
  Tools tools;
  Turn turn = {};
  std::shared_ptr<grammar::Guide> guide = nullptr;  // the server's, for `guided`
};

// The names that requests may ask for: the model's own, then its adapters'.
using ModelNames = std::vector<std::string>;

// Throws ApiError 400, or 404 when the request asks for another model. `defaults`: sampling where the body is silent.
ApiRequest parse_api_request(std::string_view body, bool chat, const ModelNames& models,
                             const SamplingOptions& defaults);

std::vector<Message> read_messages(const Json& v, const std::string& field);

// The bodies of one answer. Streams: first(), text() per piece, last() of each choice, then usage() if asked for, then
// "[DONE]".
struct ChoiceExtra {
  Json logprobs, tool_calls;  // or null
};
class ApiAnswer {
 public:
  ApiAnswer(const ApiRequest& request, std::string model, std::string id, int64_t created);
  // `choices`: all n answers to each prompt, in order.
  std::string whole(const std::vector<Generation>& choices, std::vector<ChoiceExtra> extra) const;
  std::string first(size_t index) const;  // empty for plain completions: they have no role to announce
  // logprobs: of the tokens since the last piece, in the shape of serve/logprobs.h; or null.
  std::string text(size_t index, const std::string& piece, Json logprobs = {}) const;
  std::string tool_call(size_t index, Json call) const;
  std::string last(size_t index, const Generation& g, Json logprobs = {}, bool called = false) const;
  std::string usage(const std::vector<Generation>& choices) const;

 private:
  Json frame(const char* object) const;
  Json usage_of(const std::vector<Generation>& choices) const;
  std::string chunk(Json choice) const;
  bool chat_, include_usage_;
  size_t n_;
  std::string model_, id_;
  int64_t created_;
};

std::string api_error_body(const ApiError& e);
std::string api_models_body(const ModelNames& models, int64_t created);
std::string api_model_body(const std::string& model, int64_t created);

}  // namespace puyu
