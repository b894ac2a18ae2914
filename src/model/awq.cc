#include "model/awq.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr int kCandidates = 20;  // alpha = 0, 0.05 … 0.95, as LMDeploy and AWQ try
constexpr float kLeast = 1e-4f;

bool four_bits(const std::string& scheme) { return scheme != "w8a8"; }

// 4 bits: the mean over all rows of |w| / its group's largest; w8a8: the largest |w| of the column.
std::vector<float> column_strength(std::span<const Tensor> matrices, bool groups) {
  const int64_t K = matrices[0].size(1);
  std::vector<double> out(static_cast<size_t>(K));
  int64_t rows = 0;
  for (const Tensor& w : matrices) {
    rows += w.size(0);
    parallel_for(quant_groups(K), [&](int64_t g) {
      const int64_t from = g * kQuantGroup, to = std::min(K, from + kQuantGroup);
      for (int64_t n = 0; n < w.size(0); ++n) {
        const float* row = w.as<float>() + n * K;
        float most = 0;
        for (int64_t k = from; k < to; ++k) most = std::max(most, std::fabs(row[k]));
        for (int64_t k = from; k < to; ++k) {
          double& o = out[static_cast<size_t>(k)];
          const float x = std::fabs(row[k]);
          if (!groups)
            o = std::max(o, static_cast<double>(x));
          else if (most > 0)
            o += static_cast<double>(x / most);
        }
      }
    });
  }
  std::vector<float> f(out.begin(), out.end());
  if (groups)
    for (float& x : f) x /= static_cast<float>(rows);
  return f;
}

Tensor divided(Ctx& ctx, Tensor x, std::span<const float> s) {  // by channel
  Tensor y = ctx.scratch->alloc(x.dtype, {x.size(0), x.size(1)});
  const int64_t K = x.size(1);
  parallel_for(x.size(0), [&](int64_t t) {
    for (int64_t k = 0; k < K; ++k) {
      const float by = s.empty() ? 1 : s[static_cast<size_t>(k)];
      if (x.dtype == DType::kF32)
        y.as<float>()[t * K + k] = x.as<float>()[t * K + k] / by;
      else
        y.as<BF16>()[t * K + k] = to_bf16(to_float(x.as<BF16>()[t * K + k]) / by);
    }
  });
  return y;
}

void scale_columns(Tensor w, std::span<const float> s) {
  const int64_t K = w.size(1);
  parallel_for(w.size(0), [&](int64_t n) {
    for (int64_t k = 0; k < K; ++k) w.as<float>()[n * K + k] *= s[static_cast<size_t>(k)];
  });
}

// y = (x / s) Q(w s)^T, through the kernels that will run it.
void quantised_linear(Ctx& ctx, Tensor y, Tensor x, Tensor w, std::span<const float> s, const std::string& scheme) {
  ScratchScope scope(*ctx.scratch);
  Tensor scaled = ctx.scratch->alloc(DType::kF32, {w.size(0), w.size(1)});
  std::copy_n(w.as<float>(), w.numel(), scaled.as<float>());
  scale_columns(scaled, s);
  Tensor in = divided(ctx, x, s);
  const DType act = scheme == "w4a8" ? DType::kI8 : x.dtype;
  linear(ctx, y, in, pack_quantized(ctx, *ctx.scratch, quantize_weight(ctx, scaled, scheme), act));
}

// The modules whose outputs are compared, each with its own matrices quantised, or none where s is empty.
struct Modules {
  Ctx& ctx;
  const ModelConfig& c;
  const Block<Tensor>& block;  // act
  const Block<Tensor>& w;      // f32
  const BlockSeen& seen;
  const std::string& scheme;

  void product(Tensor y, Tensor x, Tensor as_is, Tensor wide, std::span<const float> s) const {
    if (s.empty()) return linear(ctx, y, x, as_is);
    quantised_linear(ctx, y, x, wide, s, scheme);
  }
  Tensor room(DType dtype, Tensor rows, int64_t cols) const { return ctx.scratch->alloc(dtype, {rows.size(0), cols}); }

  Tensor attention_module(std::span<const float> s) const {
    const Tensor x = seen.attention_in.rows;
    Tensor y = room(DType::kF32, x, c.hidden_size);
    ScratchScope scope(*ctx.scratch);
    Tensor qkv = room(x.dtype, x, c.heads().row()), o = room(x.dtype, x, c.num_heads * c.hd());
    product(qkv, x, block.wqkv, w.wqkv, s);
    if (c.qkv_bias) add_bias(ctx, qkv, block.wqkv_bias);
    rope(ctx, qkv, seen.batch.positions.data(), seen.rope_table, c.heads());
    attention(ctx, o, {}, qkv, c.heads(), std::get<PackedSeqs>(seen.batch.sequences(seen.rope_table).layout));
    linear(ctx, y, o, block.wo);
    return y;
  }
  Tensor ffn_module(std::span<const float> s) const {
    const Tensor x = seen.ffn_in.rows;
    Tensor y = room(DType::kF32, x, c.hidden_size);
    ScratchScope scope(*ctx.scratch);
    Tensor gate = room(x.dtype, x, c.intermediate_size), up = room(x.dtype, x, c.intermediate_size);
    product(gate, x, block.w1, w.w1, s);
    product(up, x, block.w3, w.w3, s);
    swiglu(ctx, gate, gate, up);
    linear(ctx, y, gate, block.w2);
    return y;
  }
  Tensor down(std::span<const float> s) const {
    Tensor y = room(DType::kF32, seen.ffn_mid.rows, c.hidden_size);
    product(y, seen.ffn_mid.rows, block.w2, w.w2, s);
    return y;
  }
};

double squared_distance(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double d = static_cast<double>(a.as<float>()[i]) - static_cast<double>(b.as<float>()[i]);
    sum += d * d;
  }
  return sum;
}

// The scales whose output is nearest to the float module's; all 1 compete too.
std::vector<float> best_scales(Ctx& ctx, const Seen& x, std::span<const Tensor> matrices, const ScaleOptions& o,
                               double& alpha, const std::function<Tensor(std::span<const float>)>& module) {
  alpha = o.alpha;
  if (o.alpha >= 0) return channel_scales(x, matrices, o.alpha, o.scheme);
  ScratchScope scope(*ctx.scratch);
  const Tensor want = module({});
  std::vector<float> best(x.mean.size(), 1.0f);
  auto loss = [&](const std::vector<float>& s) {
    if (interrupted()) fail("[quantize] interrupted; nothing was written");
    ScratchScope inner(*ctx.scratch);
    return squared_distance(module(s), want);
  };
  double least = loss(best);
  for (int i = 0; i < kCandidates; ++i) {
    const double a = static_cast<double>(i) / kCandidates;
    std::vector<float> s = channel_scales(x, matrices, a, o.scheme);
    if (const double l = loss(s); l < least) least = l, alpha = a, best = std::move(s);
  }
  return best;
}

}  // namespace

std::vector<float> channel_scales(const Seen& x, std::span<const Tensor> matrices, double alpha,
                                  const std::string& scheme) {
  const std::vector<float> w = column_strength(matrices, four_bits(scheme));
  const std::vector<float>& strength = four_bits(scheme) ? x.mean : x.most;
  std::vector<float> s(w.size());
  float least = INFINITY, most = 0;
  for (size_t k = 0; k < s.size(); ++k) {
    const double under = std::max(std::pow(static_cast<double>(w[k]), 1 - alpha), static_cast<double>(kLeast));
    s[k] = std::max(static_cast<float>(std::pow(static_cast<double>(strength[k]), alpha) / under), kLeast);
    least = std::min(least, s[k]), most = std::max(most, s[k]);
  }
  for (float& v : s) v /= std::sqrt(least * most);
  return s;
}

BlockScales search_scales(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& float_block, const Block<Tensor>& w,
                          const BlockSeen& seen, const ScaleOptions& o) {
  const Modules m{ctx, c, float_block, w, seen, o.scheme};
  const Tensor qkv[] = {w.wqkv}, up[] = {w.w1, w.w3}, down[] = {w.w2};
  BlockScales s;
  s.attention_in =
      best_scales(ctx, seen.attention_in, qkv, o, s.alphas[0], [&](auto v) { return m.attention_module(v); });
  s.ffn_in = best_scales(ctx, seen.ffn_in, up, o, s.alphas[1], [&](auto v) { return m.ffn_module(v); });
  s.ffn_mid = best_scales(ctx, seen.ffn_mid, down, o, s.alphas[2], [&](auto v) { return m.down(v); });
  return s;
}

void fold_scales(Block<Tensor>& w, const BlockScales& s, DType norm_dtype) {
  auto fold_norm = [&](Tensor norm, std::vector<float> scale, std::initializer_list<Tensor> matrices) {
    for (size_t k = 0; k < scale.size(); ++k) {
      float& before = norm.as<float>()[k];
      float after = before / scale[k];
      if (norm_dtype == DType::kBF16) after = to_float(to_bf16(after));
      scale[k] = before / after;
      if (before == 0 || !std::isfinite(scale[k]) || scale[k] == 0)
        scale[k] = 1;  // nothing comes through this channel, or rounding would close it
      else
        before = after;
    }
    for (const Tensor& m : matrices) scale_columns(m, scale);
  };
  fold_norm(w.attention_norm, s.attention_in, {w.wqkv});
  fold_norm(w.ffn_norm, s.ffn_in, {w.w1, w.w3});
  const int64_t D = w.w3.size(1);
  parallel_for(w.w3.size(0), [&](int64_t n) {
    for (int64_t k = 0; k < D; ++k) w.w3.as<float>()[n * D + k] /= s.ffn_mid[static_cast<size_t>(n)];
  });
  scale_columns(w.w2, s.ffn_mid);
}

namespace {

// sum over tokens of x[i] x[j] for the inputs of each group.   f32 [groups, 128, 128]
std::vector<float> group_products(const Tensor& x) {
  const int64_t K = x.size(1), G = kQuantGroup;
  std::vector<float> out(static_cast<size_t>(quant_groups(K) * G * G));
  parallel_for(quant_groups(K), [&](int64_t g) {
    float* gram = out.data() + g * G * G;
    float row[kQuantGroup];
    for (int64_t t = 0; t < x.size(0); ++t) {
      for (int64_t i = 0; i < G; ++i) {
        const int64_t k = g * G + i;
        row[i] = k >= K ? 0 : x.dtype == DType::kF32 ? x.as<float>()[t * K + k] : to_float(x.as<BF16>()[t * K + k]);
      }
      for (int64_t i = 0; i < G; ++i)
        for (int64_t j = 0; j < G; ++j) gram[i * G + j] += row[i] * row[j];
    }
  });
  return out;
}

float error_of(const float* d, const float* gram, int64_t n) {  // d^T gram d
  float sums[kQuantGroup] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < kQuantGroup; ++j) sums[j] += d[i] * gram[i * kQuantGroup + j];
  float total = 0;
  for (int64_t j = 0; j < n; ++j) total += sums[j] * d[j];
  return total;
}

// Every group of w to `shrink` of its range, which holds 0.
void clamp_groups(Tensor to, Tensor w, const std::function<float(int64_t group)>& shrink) {
  const int64_t K = w.size(1), groups = quant_groups(K);
  parallel_for(w.size(0), [&](int64_t n) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t from = n * K + g * kQuantGroup, end = n * K + std::min(K, (g + 1) * kQuantGroup);
      float low = 0, high = 0;
      for (int64_t i = from; i < end; ++i)
        low = std::min(low, w.as<float>()[i]), high = std::max(high, w.as<float>()[i]);
      const float by = shrink(n * groups + g);
      for (int64_t i = from; i < end; ++i) to.as<float>()[i] = std::clamp(w.as<float>()[i], low * by, high * by);
    }
  });
}

void clip_matrix(Ctx& ctx, Tensor w, Tensor x) {
  if (interrupted()) fail("[quantize] interrupted; nothing was written");
  ScratchScope scope(*ctx.scratch);
  const int64_t N = w.size(0), K = w.size(1), groups = quant_groups(K);
  const std::vector<float> gram = group_products(x);
  std::vector<float> best(static_cast<size_t>(N * groups), 1.0f), least(best.size(), INFINITY);
  Tensor clamped = ctx.scratch->alloc(DType::kF32, {N, K}), rounded = ctx.scratch->alloc(DType::kF32, {N, K});
  for (int step = 0; step < 10; ++step) {
    const float shrink = 1 - 0.05f * static_cast<float>(step);
    ScratchScope inner(*ctx.scratch);
    clamp_groups(clamped, w, [&](int64_t) { return shrink; });
    dequantize(quantize_weight(ctx, clamped, "w4a16"), rounded);
    parallel_for(N, [&](int64_t n) {
      float d[kQuantGroup] = {};
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t from = n * K + g * kQuantGroup, size = std::min(kQuantGroup, K - g * kQuantGroup);
        for (int64_t i = 0; i < size; ++i) d[i] = w.as<float>()[from + i] - rounded.as<float>()[from + i];
        const float e = error_of(d, gram.data() + g * kQuantGroup * kQuantGroup, size);
        const auto at = static_cast<size_t>(n * groups + g);
        if (e < least[at]) least[at] = e, best[at] = shrink;
      }
    });
  }
  clamp_groups(w, w, [&](int64_t group) { return best[static_cast<size_t>(group)]; });
}

}  // namespace

void clip_groups(Ctx& ctx, const ModelConfig& c, Block<Tensor>& w, const BlockSeen& seen, const BlockScales& s) {
  ScratchScope scope(*ctx.scratch);
  const Tensor h1 = divided(ctx, seen.attention_in.rows, s.attention_in), h2 = divided(ctx, seen.ffn_in.rows, s.ffn_in),
               mid = divided(ctx, seen.ffn_mid.rows, s.ffn_mid);
  const int64_t group = c.num_heads / c.num_kv_heads, hd = c.hd();
  for (int64_t h = 0; h < c.num_kv_heads; ++h) {  // v's rows
    const int64_t row = (h * (group + 2) + group + 1) * hd;
    clip_matrix(ctx, w.wqkv.rows(row, row + hd), h1);
  }
  clip_matrix(ctx, w.wo, seen.attention_out.rows);
  clip_matrix(ctx, w.w1, h2);
  clip_matrix(ctx, w.w3, h2);
  clip_matrix(ctx, w.w2, mid);
}

}  // namespace puyu
