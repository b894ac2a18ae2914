// FLOPs of training on one token, forward and backward, by the formulas that published MFU figures use. Ours is
// ModelConfig::train_flops_per_token (causal attention, grouped queries, recompute not counted); the other two are
// printed beside it, so that figures can be compared with those of the programs they come from.
#pragma once
#include "model/model.h"

namespace puyu {

// InternEvo (internlm/core/utils get_megatron_flops, after Narayanan et al. 2021, equation 3): attention over the whole
// sequence, as many key-value heads as query heads; the forward pass of a full recompute counts.
double internevo_flops_per_token(const ModelConfig& c, double sequence, bool recompute);
// Megatron-LM (training.py num_floating_point_operations): attention over the whole sequence, grouped queries,
// recompute not counted.
double megatron_lm_flops_per_token(const ModelConfig& c, double sequence);

}  // namespace puyu
