// One token from one row of logits. Order of the filters, as in Hugging Face's generate(): repetition penalty,
// temperature, top-k, top-p, min-p. The random number comes from the caller's Rng alone, so a result depends on nothing
// but the row, the options and the Rng.
#pragma once
#include <span>

#include "base/rng.h"
#include "engine/generator.h"

namespace puyu {

// Throws Error naming the option that cannot be.
void validate(const SamplingOptions& o);

// `logits` may be changed (the penalty of Keskar et al. 2019 works in place); `used`: prompt and answer so far. Equal
// logits: the lowest id wins.
int32_t sample(std::span<float> logits, std::span<const int32_t> used, const SamplingOptions& o, Rng rng);

}  // namespace puyu
