// A request for answers, whichever API it came through, and what their parsers share. Bodies in, no sockets. What we
// cannot do is refused by the name of the field, never ignored. docs/formats.d/serve.md lists the fields.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "serve/fields.h"
#include "serve/guided.h"
#include "serve/tools.h"

namespace puyu {

enum class Api { kOpenAi, kResponses, kAnthropic };

struct ApiRequest {
  Api api = Api::kOpenAi;
  bool chat = true;
  std::string input = "messages";         // the field that holds the prompt, for errors
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
  Json repeated = Json();                           // responses: what the answer repeats of its request
  std::shared_ptr<grammar::Guide> guide = nullptr;  // the server's, for `guided`
  std::shared_ptr<grammar::Guide> calls = nullptr;  // and for `tools`
};

// The names that requests may ask for: the model's own, then its adapters'.
using ModelNames = std::vector<std::string>;

// A request for body.model with the server's sampling and a random seed; 404 when there is no such model.
ApiRequest begin_request(const Json& body, const ModelNames& models, const SamplingOptions& defaults);
// Whether this field is one of sampling; read into `s`. ApiError 400 when it is malformed.
bool read_sampling(const std::string& key, const Json& v, SamplingOptions& s);
std::vector<std::string> read_texts(const Json& v, const std::string& field);  // a list, none of them empty
// Checks the tools and puts their turn into the dialogue.
void add_tools(ApiRequest& r);

}  // namespace puyu
