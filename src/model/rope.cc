#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace puyu {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

double original_position(const ModelConfig& c) {
  return static_cast<double>(c.rope_original_position ? c.rope_original_position : c.max_position);
}

// Pairs that turn often within the original context keep their frequency, those that turn seldom are stretched, with a
// ramp between (YaRN, section 3.2).
void apply_yarn(const ModelConfig& c, RopeAngles& a) {
  const auto d = static_cast<double>(c.hd());
  auto pair_of = [&](double turns) {
    return d * std::log(original_position(c) / (turns * kTurn)) / (2 * std::log(c.rope_theta));
  };
  const double low = std::max(std::floor(pair_of(c.rope_beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_of(c.rope_beta_slow)), d - 1);
  if (high <= low) high = low + 0.001;
  for (size_t i = 0; i < a.frequency.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    a.frequency[i] *= stretched / c.rope_factor + (1 - stretched);
  }
  a.factor = c.rope_attention_factor > 0 ? c.rope_attention_factor : 0.1 * std::log(c.rope_factor) + 1;
}

// By wavelength: short ones as they are, long ones divided by the factor, between them a mixture (LLaMA 3.1's release).
void apply_llama3(const ModelConfig& c, RopeAngles& a) {
  for (double& f : a.frequency) {
    const double turns = original_position(c) * f / kTurn;
    const double keep = std::clamp((turns - c.rope_low_freq) / (c.rope_high_freq - c.rope_low_freq), 0.0, 1.0);
    f *= (1 - keep) / c.rope_factor + keep;
  }
}

}  // namespace

double rope_base(const ModelConfig& c, int64_t prompt_tokens) {
  if (c.rope_scaling != "dynamic" || prompt_tokens <= c.max_position) return c.rope_theta;
  const auto d = static_cast<double>(c.hd());
  const double length = static_cast<double>(prompt_tokens) / static_cast<double>(c.max_position);
  return c.rope_theta * std::pow(c.rope_factor * length - (c.rope_factor - 1), d / (d - 2));
}

RopeAngles rope_angles(const ModelConfig& c, int64_t prompt_tokens) {
  RopeAngles a;
  const double base = rope_base(c, prompt_tokens);
  for (int64_t i = 0; i < c.hd() / 2; ++i)
    a.frequency.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(c.hd())));
  if (c.rope_scaling == "linear")
    for (double& f : a.frequency) f /= c.rope_factor;
  else if (c.rope_scaling == "yarn")
    apply_yarn(c, a);
  else if (c.rope_scaling == "llama3")
    apply_llama3(c, a);
  return a;
}

void write_rope_row(const RopeAngles& a, int64_t position, float* row) {
  const size_t half = a.frequency.size();
  for (size_t i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) * a.frequency[i];
    row[i] = static_cast<float>(a.factor * std::cos(angle));
    row[half + i] = static_cast<float>(a.factor * std::sin(angle));
  }
}

Tensor make_rope_table(Arena& arena, const ModelConfig& c, int64_t positions) {
  Tensor t = arena.alloc(DType::kF32, {positions, c.hd()});
  const RopeAngles angles = rope_angles(c);
  for (int64_t p = 0; p < positions; ++p) write_rope_row(angles, p, t.as<float>() + p * c.hd());
  return t;
}

}  // namespace puyu
