// ln p of tokens under a model of ours: the perplexity differences that choose long documents (long_context.h) and the
// losses that tell whether a benchmark leaked (loss_gap.h). No batches and no cache: one text at a time, whole.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace puyu {

class LossScorer {
 public:
  // A model folder (Hugging Face's or ours); the tokenizer is the folder's, unless another is named. Error for models
  // that are kept quantised.
  LossScorer(const std::string& model, const std::string& tokenizer);
  ~LossScorer();
  const Tokenizer& tokenizer() const { return tokenizer_; }
  int64_t context() const;  // tokens that a text may have
  // ln p(ids[i] | ids[0 … i - 1]) for i = from … n - 1, from >= 1. CHECK: n <= context().
  std::vector<float> logp(std::span<const int32_t> ids, size_t from);

 private:
  struct State;
  Tokenizer tokenizer_;
  std::unique_ptr<State> state_;
};

}  // namespace puyu
