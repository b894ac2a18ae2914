// Greedy answers of a model in training, for experiments, logs and tests: batched, each step a forward pass over the
// whole prefix. Short answers only; the engine is the fast way.
#pragma once
#include <string>
#include <vector>

#include "align/chat_data.h"
#include "align/instructions.h"
#include "model/weights.h"

namespace puyu {

// One answer a dialogue (its last message is the user's), without special tokens.
std::vector<std::string> greedy_answers(Ctx& ctx, Weights& w, const Tokenizer& t, const std::vector<Dialogue>& prompts,
                                        int max_tokens);

struct Accuracy {
  int64_t right = 0, total = 0;
  double value() const { return total ? static_cast<double>(right) / static_cast<double>(total) : 0; }
};
// Share of questions whose answer's last number is right; wording i % 8 for question i.
Accuracy arithmetic_accuracy(Ctx& ctx, Weights& w, const Tokenizer& t, const std::vector<Arithmetic>& questions);
// Share of dialogues whose last message is answered exactly.
Accuracy exact_match(Ctx& ctx, Weights& w, const Tokenizer& t, const std::vector<Dialogue>& dialogues, int max_tokens);

}  // namespace puyu
