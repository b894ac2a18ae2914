#include "model/config.h"

#include <algorithm>

#include "base/error.h"

namespace puyu {

void ModelConfig::validate() const {
  auto positive = [](const char* name, int64_t v) {
    if (v <= 0) fail("[model] ", name, " must be positive, got ", v);
  };
  positive("vocab_size", vocab_size);
  positive("hidden_size", hidden_size);
  positive("num_layers", num_layers);
  positive("num_heads", num_heads);
  positive("num_kv_heads", num_kv_heads);
  positive("intermediate_size", intermediate_size);
  positive("max_position", max_position);
  if (num_heads % num_kv_heads)
    fail("[model] num_heads ", num_heads, " is not a multiple of num_kv_heads ", num_kv_heads);
  if (!head_dim && hidden_size % num_heads)
    fail("[model] hidden_size ", hidden_size, " is not a multiple of num_heads ", num_heads, "; set head_dim");
  if (hd() % 2 || hd() > 256) fail("[model] head_dim ", hd(), " must be even and at most 256");
  const bool known_scaling = rope_scaling.empty() || rope_scaling == "linear" || rope_scaling == "dynamic" ||
                             rope_scaling == "yarn" || rope_scaling == "llama3";
  if (!known_scaling)
    fail("[model] rope_scaling: expected linear, dynamic, yarn or llama3, or nothing, got '", rope_scaling, "'");
  if (!rope_scaling.empty() && rope_factor < 1) fail("[model] rope_factor must be at least 1, got ", rope_factor);
  if (rope_theta <= 0) fail("[model] rope_theta must be positive, got ", rope_theta);
}

int64_t ModelConfig::context() const {
  auto stretched = [&](int64_t n) { return static_cast<int64_t>(static_cast<double>(n) * rope_factor); };
  if (rope_scaling == "linear" || rope_scaling == "dynamic") return stretched(max_position);
  if (rope_scaling == "yarn")
    return std::max(max_position, stretched(rope_original_position ? rope_original_position : max_position));
  return max_position;
}

int64_t ModelConfig::num_params() const {
  int64_t block = 2 * hidden_size + hidden_size * heads().row() + hidden_size * num_heads * hd() +
                  3 * hidden_size * intermediate_size + (qkv_bias ? heads().row() : 0) + (wo_bias ? hidden_size : 0);
  return num_layers * block + hidden_size + vocab_size * hidden_size * (tie_embeddings ? 1 : 2);
}

double ModelConfig::train_flops_per_token(double t) const {
  auto d = [](int64_t v) { return static_cast<double>(v); };
  double block = d(hidden_size) * d(heads().row() + num_heads * hd() + 3 * intermediate_size);
  double matmul = d(num_layers) * block + d(vocab_size) * d(hidden_size);
  return 6 * matmul + 6 * d(num_layers) * d(num_heads * hd()) * t;
}

ModelConfig published_config(const std::string& size) {
  ModelConfig c;
  if (size == "1.8b") return c;
  c.hidden_size = 4096, c.num_layers = 32, c.num_heads = 32, c.intermediate_size = 14336;
  if (size == "7b") return c;
  c.hidden_size = 6144, c.num_layers = 48, c.num_heads = 48, c.intermediate_size = 16384;
  if (size == "20b") return c;
  fail("[model] no published size '", size, "'; there are 1.8b, 7b and 20b");
}

}  // namespace puyu
