// Head and loss in one: logits of one chunk of tokens, softmax, gradients, next chunk. A block a row.
#include <cmath>

#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunkBytes = 256 << 20;

struct RowsOut {
  float *logp, *entropy;
  int32_t* correct;
};

// Statistics of each row of logits; then, if grad, coef (onehot - p) in T.
template <class T>
__global__ void __launch_bounds__(kThreads) softmax_rows_kernel(RowsOut out, T* grad, const float* logits,
                                                                const int32_t* target, const float* coef, int64_t V) {
  __shared__ float slots[32];
  const int64_t row = blockIdx.x;
  const float* x = logits + row * V;
  float most = -3e38f;
  for (int64_t i = threadIdx.x; i < V; i += kThreads) most = fmaxf(most, x[i]);
  most = block_max(most, slots);
  float sum = 0, weighted = 0;
  for (int64_t i = threadIdx.x; i < V; i += kThreads) {
    const float e = expf(x[i] - most);
    sum += e, weighted += e * (x[i] - most);
  }
  sum = block_sum(sum, slots), weighted = block_sum(weighted, slots);
  const float lse = logf(sum);
  const int32_t t = target[row];
  if (t >= V) trap("a target outside the vocabulary");
  const float logp = t >= 0 ? x[t] - most - lse : 0.0f;
  if (threadIdx.x == 0) {
    out.logp[row] = logp;
    if (out.entropy) out.entropy[row] = lse - weighted / sum;
    if (out.correct) out.correct[row] = t >= 0 && x[t] >= most;
  }
  if (!grad) return;
  const float c = t >= 0 ? coef[row] : 0.0f, scale = -c / sum;
  for (int64_t i = threadIdx.x; i < V; i += kThreads) {
    const float g = i == t ? c - c * expf(logp) : expf(x[i] - most) * scale;
    grad[row * V + i] = from_float<T>(g);
  }
}

// {maximum, sum of exp(x - maximum), the target's logit or -3e38} of each row.
__global__ void __launch_bounds__(kThreads)
    softmax_parts_kernel(float* parts, const float* logits, const int32_t* target, int64_t V) {
  __shared__ float slots[32];
  const int64_t row = blockIdx.x;
  const float* x = logits + row * V;
  float most = -3e38f;
  for (int64_t i = threadIdx.x; i < V; i += kThreads) most = fmaxf(most, x[i]);
  most = block_max(most, slots);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < V; i += kThreads) sum += expf(x[i] - most);
  sum = block_sum(sum, slots);
  const int32_t t = target[row];
  if (threadIdx.x == 0)
    parts[row * 3] = most, parts[row * 3 + 1] = sum, parts[row * 3 + 2] = t >= 0 && t < V ? x[t] : -3e38f;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    softmax_backward_kernel(T* grad, const float* logits, const float* lse, const int32_t* target, const float* coef,
                            int64_t V) {
  const int64_t row = blockIdx.x;
  const float c = coef[row];
  for (int64_t i = threadIdx.x; i < V; i += kThreads) {
    const float p = c == 0 ? 0.0f : c * expf(logits[row * V + i] - lse[row]);
    grad[row * V + i] = from_float<T>(i == target[row] ? c - p : -p);
  }
}

Tensor slice(Tensor t, int64_t begin, int64_t end) { return t ? t.rows(begin, end) : t; }
RowsOut rows_from(const CrossEntropyOut& o, int64_t b) {
  return {o.logp.as<float>() + b, o.entropy ? o.entropy.as<float>() + b : nullptr,
          o.correct ? o.correct.as<int32_t>() + b : nullptr};
}

}  // namespace

void fused_cross_entropy(Ctx& ctx, const CrossEntropyOut& out, Tensor dx, Tensor dw, Tensor x, Tensor w,
                         const int32_t* target, const float* coef) {
  const int64_t T = x.shape[0], V = w.shape[0];
  if (T == 0) return;
  const int64_t fits = kChunkBytes / (V * 4), most = fits > 4096 ? 4096 : fits < 128 ? 128 : fits;
  const int64_t chunk = T < most ? T : most;
  const bool backward = dx || dw;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, target, T);
  const float* scale = backward ? on_device(ctx, coef, T) : nullptr;
  Tensor logits = ctx.scratch->alloc(DType::kF32, {chunk, V});
  Tensor grad;
  if (backward) grad = ctx.scratch->alloc(x.dtype, {chunk, V});
  for (int64_t b = 0; b < T; b += chunk) {
    const int64_t n = T - b < chunk ? T - b : chunk;
    const Tensor xc = slice(x, b, b + n), z = logits.rows(0, n), g = slice(grad, 0, n);
    PUYU_CUDA::linear(ctx, z, xc, w, {});
    with_type(x.dtype, [&](auto tag) {
      using E = decltype(tag);
      launch(ctx, &softmax_rows_kernel<E>, {n}, kThreads, 0, rows_from(out, b), backward ? g.as<E>() : nullptr,
             z.as<float>(), at + b, backward ? scale + b : nullptr, V);
    });
    if (dx) PUYU_CUDA::linear_dx(ctx, slice(dx, b, b + n), g, w, false);
    if (dw) PUYU_CUDA::linear_dw(ctx, dw, g, xc);
  }
}

void target_logp(Ctx& ctx, Tensor logp, Tensor logits, const int32_t* target) {
  const int64_t T = logits.shape[0];
  if (T == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, target, T);
  const float* none = nullptr;
  launch(ctx, &softmax_rows_kernel<float>, {T}, kThreads, 0, RowsOut{logp.as<float>(), nullptr, nullptr},
         static_cast<float*>(nullptr), logits.as<float>(), at, none, logits.shape[1]);
}

void softmax_parts(Ctx& ctx, Tensor parts, Tensor logits, const int32_t* target) {
  const int64_t T = logits.shape[0];
  if (T == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, target, T);
  launch(ctx, &softmax_parts_kernel, {T}, kThreads, 0, parts.as<float>(), logits.as<float>(), at, logits.shape[1]);
}

void softmax_backward(Ctx& ctx, Tensor grad, Tensor logits, Tensor lse, const int32_t* target, const float* coef) {
  const int64_t T = logits.shape[0];
  if (T == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, target, T);
  const float* scale = on_device(ctx, coef, T);
  with_type(grad.dtype, [&](auto tag) {
    using E = decltype(tag);
    launch(ctx, &softmax_backward_kernel<E>, {T}, kThreads, 0, grad.as<E>(), logits.as<float>(), lse.as<float>(), at,
           scale, logits.shape[1]);
  });
}

}  // namespace puyu::PUYU_CUDA
