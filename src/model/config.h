// The shape of an InternLM2 model, and the letters used for dimensions everywhere:
//   T tokens in a call   D hidden   H query heads   KV key/value heads   G = H / KV   HD head dimension
//   F feed-forward width   V vocabulary   L layers   M, N, K a matrix product's rows, columns, depth
#pragma once
#include <cstdint>
#include <string>

#include "kernels/kernels.h"

namespace puyu {

struct ModelConfig {
  int64_t vocab_size = 92544;
  int64_t hidden_size = 2048;
  int64_t num_layers = 24;
  int64_t num_heads = 16;
  int64_t num_kv_heads = 8;
  int64_t head_dim = 0;  // 0: hidden_size / num_heads
  int64_t intermediate_size = 8192;
  double rms_norm_eps = 1e-5;
  double rope_theta = 1e6;
  int64_t max_position = 32768;
  bool tie_embeddings = false;

  template <class F>
  void fields(F&& f) {
    f("vocab_size", vocab_size, "tokens in the vocabulary");
    f("hidden_size", hidden_size, "width of the residual stream");
    f("num_layers", num_layers, "transformer blocks");
    f("num_heads", num_heads, "query heads");
    f("num_kv_heads", num_kv_heads, "key/value heads (GQA)");
    f("head_dim", head_dim, "width of a head; 0 = hidden_size / num_heads");
    f("intermediate_size", intermediate_size, "feed-forward width");
    f("rms_norm_eps", rms_norm_eps, "epsilon of RMSNorm");
    f("rope_theta", rope_theta, "RoPE base");
    f("max_position", max_position, "longest sequence in tokens");
    f("tie_embeddings", tie_embeddings, "output head shares the embedding table");
  }
  int64_t hd() const { return head_dim ? head_dim : hidden_size / num_heads; }
  Heads heads() const { return {num_heads, num_kv_heads, hd()}; }
  // Throws Error naming the field that cannot be.
  void validate() const;
  int64_t num_params() const;
  // FLOPs of forward + backward per token at this sequence length: 6 per matmul weight, causal attention counted half
  // (PaLM, appendix B, with GQA). Recompute is not counted.
  double train_flops_per_token(double sequence_length) const;
};

// The published sizes (InternEvo configs/_base_/models; report table 3): "1.8b", "7b", "20b".
ModelConfig published_config(const std::string& size);

}  // namespace puyu
