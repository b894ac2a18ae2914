// The one list of the model's tensors. Block<T> and Model<T> hold a T per tensor: weights, gradients, Adam moments and
// checkpoints are all Model<Tensor>, and everything that must touch each tensor (loader, init, optimizer, export) walks
// each(). Names are Hugging Face's for InternLM2.
#pragma once
#include <string>
#include <vector>

#include "model/config.h"

namespace puyu {

enum class Init {
  kOnes,
  kZeros,
  kNormal,
  kDepthScaled
};  // 1; 0; N(0, 0.02); N(0, 0.02 / sqrt(2 (layer + 1))), as InternEvo
// What tensor ranks hold of a tensor: all of it, or the rank's equal share of its rows or columns. The rows of wqkv are
// groups of one key/value head, so a share of them is whole heads.
enum class Split { kWhole, kRows, kColumns };
struct Spec {
  int64_t rows, cols;  // cols = 0: a vector
  bool decay;          // weight decay on matrices only
  Init init;
  Split split = Split::kWhole;
};

template <class T>
struct Block {
  T attention_norm, wqkv, wo, ffn_norm, w1, w3, w2;
  T wqkv_bias{}, wo_bias{};  // where the config has them
  template <class F>
  void each(const ModelConfig& c, F&& f) {
    const int64_t D = c.hidden_size, F_ = c.intermediate_size, Q = c.num_heads * c.hd();
    f("attention_norm.weight", attention_norm, Spec{D, 0, false, Init::kOnes});
    f("attention.wqkv.weight", wqkv, Spec{c.heads().row(), D, true, Init::kNormal, Split::kRows});
    if (c.qkv_bias) f("attention.wqkv.bias", wqkv_bias, Spec{c.heads().row(), 0, false, Init::kZeros, Split::kRows});
    f("attention.wo.weight", wo, Spec{D, Q, true, Init::kDepthScaled, Split::kColumns});
    if (c.wo_bias) f("attention.wo.bias", wo_bias, Spec{D, 0, false, Init::kZeros});
    f("ffn_norm.weight", ffn_norm, Spec{D, 0, false, Init::kOnes});
    f("feed_forward.w1.weight", w1, Spec{F_, D, true, Init::kNormal, Split::kRows});
    f("feed_forward.w3.weight", w3, Spec{F_, D, true, Init::kNormal, Split::kRows});
    f("feed_forward.w2.weight", w2, Spec{D, F_, true, Init::kDepthScaled, Split::kColumns});
  }
};

// The parts of a model, in the order they are used: 0 the embeddings, 1 … L the blocks, L + 1 the final norm and the
// head. Weights can be brought and gradients taken away part by part (PartWatch in model.h).
inline int64_t num_parts(const ModelConfig& c) { return c.num_layers + 2; }

// The shape of what one of `ranks` tensor ranks holds: fewer heads, feed-forward columns and vocabulary rows, the same
// width. A model of it is a model as any other, but its products are parts of sums (parallel.h).
// CHECK: they divide.
ModelConfig split_config(const ModelConfig& c, int64_t ranks);

// What stands on the last hidden state: the language head, or one value per token (reward model, critic).
enum class Head { kLanguage, kValue };

template <class T>
struct Model {
  T tok_embeddings;
  std::vector<Block<T>> layers;
  T norm;
  T output;  // [V, D], or [1, D] for a value head; unused when embeddings are tied

  // f(name, T&, Spec, layer); layer is -1 outside the blocks.
  template <class F>
  void each(const ModelConfig& c, Head head, F&& f) {
    layers.resize(static_cast<size_t>(c.num_layers));
    f(std::string("model.tok_embeddings.weight"), tok_embeddings,
      Spec{c.vocab_size, c.hidden_size, true, Init::kNormal, Split::kRows}, int64_t{-1});
    for (int64_t i = 0; i < c.num_layers; ++i)
      layers[static_cast<size_t>(i)].each(
          c, [&](const char* name, T& t, Spec s) { f("model.layers." + std::to_string(i) + "." + name, t, s, i); });
    f(std::string("model.norm.weight"), norm, Spec{c.hidden_size, 0, false, Init::kOnes}, int64_t{-1});
    if (head == Head::kValue)
      f(std::string("v_head.weight"), output, Spec{1, c.hidden_size, true, Init::kNormal}, int64_t{-1});
    else if (!c.tie_embeddings)
      f(std::string("output.weight"), output, Spec{c.vocab_size, c.hidden_size, true, Init::kNormal, Split::kRows},
        int64_t{-1});
  }
};

}  // namespace puyu
