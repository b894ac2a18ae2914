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

// What requests change before the filters, in this order: logit_bias is added, presence and frequency penalties of the
// answer so far are taken off (OpenAI's formula), the last token of a bad sequence whose head the answer ends with and,
// below min_tokens, the stop ids go to -infinity.
void adjust(std::span<float> logits, std::span<const int32_t> answer, const SamplingOptions& o,
            std::span<const int32_t> stop_ids, std::span<const std::vector<int32_t>> bad_ids);

// Whether adjust() without bad sequences, or sample(), can write to the logits under these options.
bool changes_logits(const SamplingOptions& o);

// The loop stopper: the answer's last repetition_ngram_size tokens stand in it repetition_ngram_threshold times.
bool loops(std::span<const int32_t> answer, const SamplingOptions& o);

// Ids of the n largest logits, best first; equal ones in the order of their ids. -infinity and NaN are left out.
std::vector<int32_t> most_likely(std::span<const float> logits, int n);

// `logits` may be changed (the penalty of Keskar et al. 2019 works in place); `used`: prompt and answer so far. Equal
// logits: the lowest id wins. -1 when every logit is -infinity.
int32_t sample(std::span<float> logits, std::span<const int32_t> used, const SamplingOptions& o, Rng rng);

}  // namespace puyu
