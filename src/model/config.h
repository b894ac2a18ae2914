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
  std::string rope_scaling;  // "", linear, dynamic, yarn, llama3
  double rope_factor = 1;
  int64_t rope_original_position = 0;
  double rope_attention_factor = 0, rope_beta_fast = 32, rope_beta_slow = 1, rope_low_freq = 1, rope_high_freq = 4;
  int64_t max_position = 32768;
  bool tie_embeddings = false;
  bool qkv_bias = false, wo_bias = false;

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
    f("rope_scaling", rope_scaling, "for longer contexts: linear, dynamic (NTK by prompt), yarn, llama3; empty = none");
    f("rope_factor", rope_factor, "of rope_scaling: how much longer");
    f("rope_original_position", rope_original_position, "context before scaling (yarn, llama3); 0 = max_position");
    f("rope_attention_factor", rope_attention_factor, "yarn: factor on q and k; 0 = 0.1 ln(rope_factor) + 1");
    f("rope_beta_fast", rope_beta_fast, "yarn: turns in the original context from which on nothing is scaled");
    f("rope_beta_slow", rope_beta_slow, "yarn: turns up to which all is scaled");
    f("rope_low_freq", rope_low_freq, "llama3: low_freq_factor");
    f("rope_high_freq", rope_high_freq, "llama3: high_freq_factor");
    f("max_position", max_position, "longest sequence in tokens");
    f("qkv_bias", qkv_bias, "queries, keys and values have a bias (Qwen2)");
    f("wo_bias", wo_bias, "the attention's output has a bias");
    f("tie_embeddings", tie_embeddings, "output head shares the embedding table");
  }
  int64_t hd() const { return head_dim ? head_dim : hidden_size / num_heads; }
  Heads heads() const { return {num_heads, num_kv_heads, hd()}; }
  // The longest sequence that the positions are made for: max_position, stretched by rope_scaling where the folder
  // names the length of training (dynamic has no limit of its own; this is what its factor was chosen for).
  int64_t context() const;
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
