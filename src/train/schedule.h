// The learning rate and the phase of each step. Steps count from 0; phases follow one another; one warm-up and one
// cosine span all of them, and a phase may scale the rate (InternLM2 report, section 3.2.2: cosine to 10 % of the
// peak).
#pragma once
#include "train/options.h"

namespace puyu {

int64_t total_steps(const TrainOptions& o);
// The phase that step belongs to; the last one for steps beyond the end.
size_t phase_of(const TrainOptions& o, int64_t step);
//   step < warmup:  lr (step + 1) / warmup
//   else:           lr (r + (1 - r) (1 + cos(pi p)) / 2),  p = (step - warmup) / (total - 1 - warmup),  r =
//   min_lr_ratio
// times the phase's lr_scale.
double learning_rate(const TrainOptions& o, int64_t step);

// Tokens of that step: the phase's or the run's, and not more than the ramp allows.
int64_t batch_tokens_at(const TrainOptions& o, int64_t step);

}  // namespace puyu
