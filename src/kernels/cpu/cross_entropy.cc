// Head and loss in one: logits of one chunk of tokens, softmax, gradients, next chunk.
#include <cmath>

#include "kernels/cpu/matmul.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

constexpr int64_t kChunkBytes = 64 << 20;

template <class T>
PUYU_INLINE void put(T* to, float v) {
  T tmp[16];
  store(tmp, splat(v));
  *to = tmp[0];
}

struct RowOut {
  float logp, entropy;
  int32_t correct;
};

PUYU_INLINE float row_max(const float* logits, int64_t n) {
  vf m4[4] = {splat(-3e38f), splat(-3e38f), splat(-3e38f), splat(-3e38f)};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64)
    for (int j = 0; j < 4; ++j) m4[j] = vmax(m4[j], load(logits + i + 16 * j));
  float mx = lane_max(vmax(vmax(m4[0], m4[1]), vmax(m4[2], m4[3])));
  for (; i < n; ++i) mx = logits[i] > mx ? logits[i] : mx;
  return mx;
}

// Softmax statistics of one row; then, if grad, overwrites it with coef * (onehot - p) in T.
template <class T>
PUYU_INLINE RowOut row_job(float* logits, T* grad, int64_t n, int32_t target, float coef, bool want_entropy) {
  const float mx = row_max(logits, n);
  int64_t i = 0;
  vf acc[2] = {}, wacc[2] = {};
  for (i = 0; i < n; i += 16) {
    const vf x = load_n(logits + i, n - i) - mx;
    vf e = vexp(x);
    if (n - i < 16)
      for (int64_t j = n - i; j < 16; ++j) e[j] = 0;
    acc[(i >> 4) & 1] += e;
    if (want_entropy) wacc[(i >> 4) & 1] += e * x;
  }
  const float sum = lane_sum(acc[0] + acc[1]), lse = std::log(sum);
  RowOut out{0, want_entropy ? lse - lane_sum(wacc[0] + wacc[1]) / sum : 0, 0};
  if (target >= 0) {
    out.logp = logits[target] - mx - lse;
    out.correct = logits[target] >= mx;
  }
  if (grad) {
    const float c = target >= 0 ? -coef : 0.0f;
    const float scale = c / sum;
    for (i = 0; i < n; i += 16) store_n(grad + i, vexp(load_n(logits + i, n - i) - mx) * scale, n - i);
    if (target >= 0) put(grad + target, coef - coef * std::exp(out.logp));
  }
  return out;
}

// coef * (onehot - p) of the columns of a row that are here.
template <class T>
PUYU_INLINE void gradient_job(T* grad, const float* logits, int64_t n, float lse, int32_t target, float coef) {
  for (int64_t i = 0; i < n; i += 16) store_n(grad + i, vexp(load_n(logits + i, n - i) - lse) * -coef, n - i);
  if (target >= 0 && target < n) put(grad + target, coef - coef * std::exp(logits[target] - lse));
}

}  // namespace

void fused_cross_entropy(Ctx& ctx, const CrossEntropyOut& out, Tensor dx, Tensor dw, Tensor x, Tensor w,
                         const int32_t* target, const float* coef) {
  const int64_t T = x.shape[0], D = x.shape[1], V = w.shape[0];
  const int64_t chunk = imin(T, imax(64, imin(1024, kChunkBytes / (V * 4))));
  const bool backward = dx || dw;
  ScratchScope scope(*ctx.scratch);
  float* logits = ctx.scratch->alloc_array<float>(chunk * V);
  Tensor grad;
  if (backward) grad = ctx.scratch->alloc(x.dtype, {chunk, V});
  for (int64_t b = 0; b < T; b += chunk) {
    const int64_t n = imin(chunk, T - b);
    Tensor xc = x;
    xc.data = static_cast<char*>(x.data) + b * D * dtype_size(x.dtype);
    xc.shape[0] = n;
    PUYU_ISA::linear(ctx, make_view(logits, n, V), xc, w, {});
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t t = 0; t < n; ++t) {
      RowOut r{};
      with_type(x.dtype, [&](auto tag) {
        using E = decltype(tag);
        E* g = backward ? static_cast<E*>(grad.data) + t * V : nullptr;
        r = row_job<E>(logits + t * V, g, V, target[b + t], coef ? coef[b + t] : 0, static_cast<bool>(out.entropy));
      });
      out.logp.as<float>()[b + t] = r.logp;
      if (out.entropy) out.entropy.as<float>()[b + t] = r.entropy;
      if (out.correct) out.correct.as<int32_t>()[b + t] = r.correct;
    }
    if (dx)
      matmul(ctx, {grad.data, x.dtype, V, true, n, V}, {w.data, w.dtype, D, false, D, V}, nullptr,
             {static_cast<char*>(dx.data) + b * D * dtype_size(dx.dtype), dx.dtype, D});
    if (dw)
      matmul(ctx, {grad.data, x.dtype, V, false, V, n}, {xc.data, x.dtype, D, false, D, n}, nullptr,
             {dw.data, DType::kF32, D, dw.data});
  }
}

void target_logp(Ctx&, Tensor logp, Tensor logits, const int32_t* target) {
  const int64_t T = logits.shape[0], V = logits.shape[1];
#pragma omp parallel for schedule(static) if (T * V > 100000)
  for (int64_t t = 0; t < T; ++t)
    logp.as<float>()[t] = row_job<float>(logits.as<float>() + t * V, nullptr, V, target[t], 0, false).logp;
}

void softmax_parts(Ctx&, Tensor parts, Tensor logits, const int32_t* target) {
  const int64_t T = logits.shape[0], V = logits.shape[1];
#pragma omp parallel for schedule(static) if (T * V > 100000)
  for (int64_t t = 0; t < T; ++t) {
    const float* row = logits.as<float>() + t * V;
    const float m = row_max(row, V);
    vf acc[2] = {};
    for (int64_t i = 0; i < V; i += 16) {
      vf e = vexp(load_n(row + i, V - i) - m);
      for (int64_t j = V - i; j < 16; ++j) e[j] = 0;
      acc[(i >> 4) & 1] += e;
    }
    float* out = parts.as<float>() + t * 3;
    out[0] = m, out[1] = lane_sum(acc[0] + acc[1]);
    out[2] = target[t] >= 0 && target[t] < V ? row[target[t]] : -3e38f;
  }
}

void softmax_backward(Ctx&, Tensor grad, Tensor logits, Tensor lse, const int32_t* target, const float* coef) {
  const int64_t T = logits.shape[0], V = logits.shape[1];
  with_type(grad.dtype, [&](auto tag) {
    using E = decltype(tag);
#pragma omp parallel for schedule(static) if (T * V > 100000)
    for (int64_t t = 0; t < T; ++t)
      gradient_job(grad.as<E>() + t * V, logits.as<float>() + t * V, V, lse.as<float>()[t], target[t], coef[t]);
  });
}

}  // namespace puyu::cpu::PUYU_ISA
