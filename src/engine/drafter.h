// Speculative decoding: guesses at the next tokens, which the model then checks in one step (Leviathan et al. 2023). A
// guess is kept when it is the very token that would have been drawn, so tokens and log-probs are the same bits as
// without guessing, at any temperature; only the time differs.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "model/weights.h"

namespace puyu {

class Drafter {
 public:
  virtual ~Drafter() = default;
  // For each sequence at most `n` tokens that may follow; may be none.
  virtual std::vector<std::vector<int32_t>> propose(const std::vector<std::span<const int32_t>>& sequences, int n) = 0;
};

// What followed the last time that the sequence's last tokens stood in it: the longest of 4 to 2 tokens that did. Good
// where answers repeat their prompt: summaries, code edits, extraction.
std::unique_ptr<Drafter> make_ngram_drafter();

// A smaller model of the same vocabulary, greedily. It has an engine of its own, whose prefix cache remembers where
// each sequence was.
std::unique_ptr<Drafter> make_model_drafter(Weights weights, const std::string& device = "cpu");

}  // namespace puyu
