// What evaluation and agents know of a model: text in, text out. One implementation is the local engine, another a
// remote OpenAI endpoint.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/chat_template.h"

namespace puyu {

// A text that is longer than the model's context: what the caller may cut shorter.
class TooLong : public Error {
 public:
  using Error::Error;
};

struct SamplingOptions {
  double temperature = 0.8;  // 0: greedy
  double top_p = 0.8;
  int top_k = 0;  // 0: off
  double min_p = 0;
  double repetition_penalty = 1.0;
  double presence_penalty = 0, frequency_penalty = 0;
  int64_t seed = 0;
  int max_tokens = 512;
  int min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<std::string> bad_words;
  int repetition_ngram_size = 0;  // 0: off
  int repetition_ngram_threshold = 4;
  int top_logprobs = -1;                 // -1: none, 0: of the chosen tokens, n: and of the n most likely ones
  std::map<int32_t, double> logit_bias;  // id -> added to its logit; requests only, not in the option list
  template <class F>
  void fields(F&& f) {
    f("temperature", temperature, "0 = greedy; higher = more varied");
    f("top_p", top_p, "keep the most likely tokens up to this probability");
    f("top_k", top_k, "keep this many of the most likely tokens; 0 = all");
    f("min_p", min_p, "drop tokens less likely than this share of the best one");
    f("repetition_penalty", repetition_penalty, "above 1: tokens already used become less likely");
    f("presence_penalty", presence_penalty, "taken from the logits of tokens that the answer already has");
    f("frequency_penalty", frequency_penalty, "taken from a token's logit for each time that the answer has it");
    f("seed", seed, "the same seed gives the same text");
    f("max_tokens", max_tokens, "longest answer in tokens");
    f("min_tokens", min_tokens, "the answer does not end by itself before this many tokens");
    f("ignore_eos", ignore_eos, "end tokens do not end the answer");
    f("stop", stop, "texts that end the answer");
    f("bad_words", bad_words, "texts whose tokens must not appear in the answer");
    f("repetition_ngram_size", repetition_ngram_size, "loop stopper: the answer's last so many tokens ...; 0 = off");
    f("repetition_ngram_threshold", repetition_ngram_threshold, "... stand in it this often: the answer ends");
    f("top_logprobs", top_logprobs, "report log-probs of chosen tokens and this many alternatives; -1 = none");
  }
};

// A chat when `messages` is not empty (the answer of the assistant is generated), else plain text to continue.
struct Prompt {
  std::string text;
  std::vector<Message> messages;
};
enum class FinishReason { kStop, kLength, kAborted, kLoop };  // kLoop: the loop stopper
struct TokenLogp {
  int32_t id = 0;
  float logp = 0;
};
// A token of an answer with log p of the model itself: temperature 1, no penalty, no mask, nothing filtered.
struct Token {
  int32_t id = 0;
  float logp = 0;
  std::vector<TokenLogp> top = {};  // the most likely ones, best first (SamplingOptions::top_logprobs)
};
struct Generation {
  std::string text;
  int64_t prompt_tokens = 0, tokens = 0;
  FinishReason reason = FinishReason::kStop;
  std::string stop_text = {};           // which of SamplingOptions::stop ended it; empty for an end token
  int64_t cached_tokens = 0;            // of the prompt, found in the prefix cache
  std::vector<Token> token_logps = {};  // with top_logprobs >= 0, one a token
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
