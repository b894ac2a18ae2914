#include "train/flops.h"

namespace puyu {
namespace {
double d(int64_t v) { return static_cast<double>(v); }
}  // namespace

double internevo_flops_per_token(const ModelConfig& c, double sequence, bool recompute) {
  const double h = d(c.hidden_size), mlp = 1.5 * d(c.intermediate_size) / h;  // 1.5: SwiGLU has three matrices, not two
  return (recompute ? 4 : 3) * ((8 + 4 * mlp) * h * h + 4 * sequence * h) * d(c.num_layers) + 6 * h * d(c.vocab_size);
}

double megatron_lm_flops_per_token(const ModelConfig& c, double sequence) {
  const double h = d(c.hidden_size), q = d(c.num_heads * c.hd()) / h;
  const double attention = (1 + d(c.num_kv_heads) / d(c.num_heads) + sequence / h) * q;
  const double mlp = 1.5 * d(c.intermediate_size) / h;
  return 12 * d(c.num_layers) * h * h * (attention + mlp) + 6 * h * d(c.vocab_size);
}

}  // namespace puyu
