// Angles of rotary position embedding (RoFormer, Su et al. 2021, eq. 15), also stretched for contexts longer than those
// of training: linear (Chen et al. 2023), dynamic NTK (as LMDeploy's TurboMind: the base follows from the length of the
// prompt and stays, so keys that are in the cache stay right), YaRN (Peng et al. 2023) and LLaMA 3.1's.
#pragma once
#include <cstdint>
#include <vector>

#include "model/config.h"

namespace puyu {

struct RopeAngles {
  std::vector<double> frequency;  // [HD / 2] radians a position
  double factor = 1;              // on cosines and sines (YaRN's attention factor)
};

// The RoPE base for a prompt of this many tokens: rope_theta, but for dynamic NTK beyond max_position:
// theta s'^(HD / (HD - 2)), s' = s n / max_position - (s - 1), s = rope_factor.
double rope_base(const ModelConfig& c, int64_t prompt_tokens);
RopeAngles rope_angles(const ModelConfig& c, int64_t prompt_tokens = 0);

// One row of a table: HD / 2 cosines, then as many sines; computed in double.
void write_rope_row(const RopeAngles& angles, int64_t position, float* row);
// f32 [positions, HD]
Tensor make_rope_table(Arena& arena, const ModelConfig& c, int64_t positions);

}  // namespace puyu
