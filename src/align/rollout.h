// How PPO gets answers. The implementation is the serving engine's, given by the caller, so that this folder does not
// depend on the engine.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "model/weights.h"

namespace puyu {

struct SampledAnswer {
  std::vector<int32_t> tokens;  // the answer, its stop token included
  std::vector<float> logp;      // of each token, at temperature 1 without filters
};

// Answers to all prompts, in their order, sampled from `actor` at temperature 1 as its weights are now; an answer ends
// after `stop` or max_tokens.
using RolloutFn = std::function<std::vector<SampledAnswer>(
    Weights& actor, const std::vector<std::vector<int32_t>>& prompts, int32_t stop, int64_t max_tokens, uint64_t seed)>;

}  // namespace puyu
