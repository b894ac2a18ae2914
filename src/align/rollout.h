// Questions for a model and how it is made to answer them. The implementation is the serving engine's, given by the
// caller, so that this folder does not depend on the engine.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "align/instructions.h"
#include "model/weights.h"

namespace puyu {

struct SampledAnswer {
  std::vector<int32_t> tokens;  // the answer, its stop token included
  std::vector<float> logp;      // of each token, at temperature 1 without filters
};

// Its words: without the stop token and without ids beyond the tokenizer's (a model's vocabulary may be padded).
std::string answer_text(const Tokenizer& t, const SampledAnswer& a, int32_t stop);

// Random questions, as dialogues and as the token ids that an answer continues.
struct ArithmeticPrompts {
  std::vector<Arithmetic> questions;
  std::vector<Dialogue> dialogues;
  std::vector<std::vector<int32_t>> prompts;
};
ArithmeticPrompts draw_arithmetic(const Tokenizer& t, int64_t count, double share_100, bool held_out, Rng& rng);

// Answers to all prompts, in their order, sampled from `actor` at temperature 1 as its weights are now; an answer ends
// after `stop` or max_tokens.
using RolloutFn = std::function<std::vector<SampledAnswer>(
    Weights& actor, const std::vector<std::vector<int32_t>>& prompts, int32_t stop, int64_t max_tokens, uint64_t seed)>;

}  // namespace puyu
