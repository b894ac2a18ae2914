// Plain text beside the task, against forgetting: a micro-batch of pre-training data whose loss is added to the step's
// (InternLM2 report, section 4.3.2, adds it to PPO's; SFT uses it the same way).
#pragma once
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "train/learner.h"
#include "train/loader.h"

namespace puyu {

struct TextMixOptions {
  std::vector<std::string> shards;
  int64_t tokens = 512;
  int64_t seq_len = 256;
  double coef = 0.5;
  template <class F>
  void fields(F&& f) {
    f("shards", shards, "token shards (or folders of them); empty = no text");
    f("tokens", tokens, "tokens of text in a step");
    f("seq_len", seq_len, "longest piece of a document");
    f("coef", coef, "weight of the text's mean loss in the step's");
  }
};

class TextMix {
 public:
  // Without shards: nothing to give. Error when a shard was made by another tokenizer.
  TextMix(const TextMixOptions& options, const Tokenizer& tokenizer, uint64_t seed);
  // Adds coef * (mean loss of the next tokens) to the gradients; returns that mean, 0 without shards.
  double accumulate(Learner& learner);

 private:
  TextMixOptions options_;
  std::vector<Loader> loader_;  // one, or none without shards
};

}  // namespace puyu
