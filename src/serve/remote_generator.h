// A model behind HTTP as the Generator that evaluation and agents know: OpenAI's completions and chat completions, of
// this server or another one. The same model gives the same texts and numbers as in this process.
//
// Scoring needs two things beyond OpenAI: completions that echo a prompt of token ids with log-probs and no answer
// (max_tokens 0), and POST /tokenize beside /v1. This server and vLLM have both.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/generator.h"
#include "serve/http_client.h"

namespace puyu {

// What a server with OpenAI's API at `api` (http://host:port/v1) lists as its models. Error when it does not.
std::vector<std::string> list_models(const Url& api, const std::string& api_key);
// The path of what stands beside /v1, such as "/tokenize".
std::string beside_v1(const Url& api, const std::string& name);

struct RemoteOptions {
  std::string name;
  int64_t concurrency = 16;
  int64_t retries = 8;
  double timeout_seconds = 600;
  template <class F>
  void fields(F&& f) {
    f("name", name, "the model's name in the API; empty = the first that the server lists");
    f("concurrency", concurrency, "requests in work at once");
    f("retries", retries, "how often a request is sent again when the server is busy or away (429, 502, 503, 504)");
    f("timeout_seconds", timeout_seconds, "longest silence of the server");
  }
};

class RemoteGenerator : public Generator {
 public:
  // url: http://host:port/v1. Asks for the models there: Error when nobody answers, or the name is not among them.
  RemoteGenerator(const std::string& url, const RemoteOptions& options, const std::string& api_key);
  std::vector<Generation> generate(const std::vector<Prompt>& prompts, const SamplingOptions& options,
                                   const std::function<void(size_t)>& done = {}) override;
  std::vector<LogLikelihood> loglikelihood(const std::vector<Pair>& pairs,
                                           const std::function<void(size_t)>& done = {}) override;
  const std::string& name() const { return options_.name; }

 private:
  struct Ask {
    std::string target;
    Json body;
  };
  // The answers go to `on_answer` as they come, each with its index. Error when one of them cannot be had.
  void ask(const std::vector<Ask>& asks, const std::function<void(size_t, const Json&)>& on_answer) const;
  std::vector<std::vector<int32_t>> tokenize(const std::vector<Json>& bodies) const;

  Url url_;
  RemoteOptions options_;
  std::string api_key_;
};

}  // namespace puyu
