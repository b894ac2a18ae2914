// What evaluation and agents know of a model: text in, text out. One implementation is the local engine, another a
// remote OpenAI endpoint.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "text/chat_template.h"

namespace puyu {

struct SamplingOptions {
  double temperature = 0.8;  // 0: greedy
  double top_p = 0.8;
  int top_k = 0;  // 0: off
  double min_p = 0;
  double repetition_penalty = 1.0;
  int64_t seed = 0;
  int max_tokens = 512;
  std::vector<std::string> stop;
  template <class F>
  void fields(F&& f) {
    f("temperature", temperature, "0 = greedy; higher = more varied");
    f("top_p", top_p, "keep the most likely tokens up to this probability");
    f("top_k", top_k, "keep this many of the most likely tokens; 0 = all");
    f("min_p", min_p, "drop tokens less likely than this share of the best one");
    f("repetition_penalty", repetition_penalty, "above 1: tokens already used become less likely");
    f("seed", seed, "the same seed gives the same text");
    f("max_tokens", max_tokens, "longest answer in tokens");
    f("stop", stop, "texts that end the answer");
  }
};

// A chat when `messages` is not empty (the answer of the assistant is generated), else plain text to continue.
struct Prompt {
  std::string text;
  std::vector<Message> messages;
};
enum class FinishReason { kStop, kLength, kAborted };
struct Generation {
  std::string text;
  int64_t prompt_tokens = 0, tokens = 0;
  FinishReason reason = FinishReason::kStop;
};
struct LogLikelihood {
  double sum = 0;       // log p(continuation | context)
  bool greedy = false;  // every token of the continuation was the most likely one
  int64_t tokens = 0;
};

class Generator {
 public:
  virtual ~Generator() = default;
  // Answers in the order of the prompts; computed in whatever order is fastest. `done` (may be empty) after each.
  virtual std::vector<Generation> generate(const std::vector<Prompt>& prompts, const SamplingOptions& options,
                                           const std::function<void(size_t index)>& done = {}) = 0;
  struct Pair {
    Prompt context;
    std::string continuation;
  };
  virtual std::vector<LogLikelihood> loglikelihood(const std::vector<Pair>& pairs,
                                                   const std::function<void(size_t)>& done = {}) = 0;
};

}  // namespace puyu
