// RMSNorm and its gradient: a block a row forward; backward a block takes a fixed number of rows, so that the weight's
// gradient has one order of additions. The residual is added where it is made: in the epilogue of linear().
#include <cmath>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/pieces.cuh"

namespace puyu::PUYU_CUDA {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    rmsnorm_kernel(T* y, float* rstd, const T* x, const T* w, int64_t d, float eps, bool wide) {
  __shared__ float slots[32];
  constexpr int kN = Vec<T>::kN;
  const int64_t row = blockIdx.x, vectors = wide ? d / kN : 0;
  const T* in = x + row * d;
  T* out = y + row * d;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < vectors; i += kThreads) {
    const Vec<T> a = load_vec(in + i * kN);
    PUYU_UNROLL
    for (int e = 0; e < kN; ++e) sum += as_float(a.v[e]) * as_float(a.v[e]);
  }
  for (int64_t i = vectors * kN + threadIdx.x; i < d; i += kThreads) sum += as_float(in[i]) * as_float(in[i]);
  const float r = 1.0f / sqrtf(block_sum(sum, slots) / static_cast<float>(d) + eps);
  if (rstd && threadIdx.x == 0) rstd[row] = r;
  for (int64_t i = threadIdx.x; i < vectors; i += kThreads) {
    const Vec<T> a = load_vec(in + i * kN), b = load_vec(w + i * kN);
    Vec<T> o;
    PUYU_UNROLL
    for (int e = 0; e < kN; ++e) o.v[e] = from_float<T>(as_float(a.v[e]) * r * as_float(b.v[e]));
    store_vec(out + i * kN, o);
  }
  for (int64_t i = vectors * kN + threadIdx.x; i < d; i += kThreads)
    out[i] = from_float<T>(as_float(in[i]) * r * as_float(w[i]));
}

constexpr int64_t kRows = 16;  // a block's, fixed

template <class T>
__global__ void __launch_bounds__(kThreads)
    rmsnorm_backward_kernel(T* dx, float* part, const T* dy, const T* x, const T* w, const float* rstd, int64_t rows,
                            int64_t d) {
  __shared__ float slots[32];
  float* dw = part + blockIdx.x * d;  // each thread adds to columns of its own
  const int64_t from = blockIdx.x * kRows;
  const int64_t to = least(rows, from + kRows);
  for (int64_t t = from; t < to; ++t) {
    const T *xt = x + t * d, *g = dy + t * d;
    const float r = rstd[t];
    float sum = 0;
    for (int64_t i = threadIdx.x; i < d; i += kThreads) {
      const float gi = as_float(g[i]), xi = as_float(xt[i]);
      sum += gi * as_float(w[i]) * xi;
      dw[i] = (t == from ? 0.0f : dw[i]) + gi * xi * r;
    }
    const float c = block_sum(sum, slots) * r * r * r / static_cast<float>(d);
    for (int64_t i = threadIdx.x; i < d; i += kThreads) {
      const float v = as_float(g[i]) * as_float(w[i]) * r - as_float(xt[i]) * c;
      dx[t * d + i] = from_float<T>(as_float(dx[t * d + i]) + v);
    }
  }
}

}  // namespace

void rmsnorm(Ctx& ctx, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps) {
  const int64_t d = x.shape[1];
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const bool wide = d % Vec<T>::kN == 0 && aligned_16({x.data, y.data, w.data});
    if (x.shape[0] > 0)
      launch(ctx, &rmsnorm_kernel<T>, {x.shape[0]}, kThreads, 0, y.as<T>(), static_cast<float*>(rstd.data), x.as<T>(),
             w.as<T>(), d, eps, wide);
  });
}
void rmsnorm_backward(Ctx& ctx, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd) {
  const int64_t rows = x.shape[0], d = x.shape[1], pieces = ceil_div(rows, kRows);
  if (rows == 0) return;
  ScratchScope scope(*ctx.scratch);
  float* part = ctx.scratch->alloc_array<float>(pieces * d);
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &rmsnorm_backward_kernel<T>, {pieces}, kThreads, 0, dx.as<T>(), part, dy.as<T>(), x.as<T>(), w.as<T>(),
           rstd.as<float>(), rows, d);
  });
  add_pieces(ctx, dw.as<float>(), part, pieces, d);
}

}  // namespace puyu::PUYU_CUDA
