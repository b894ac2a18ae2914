#include <cmath>

#include "kernels/cpu/isa.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

// sum a[i] b[i] with four accumulators in a fixed order.
template <class T>
PUYU_INLINE float dot(const T* a, const T* b, int64_t n) {
  vf acc[4] = {};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64)
    for (int j = 0; j < 4; ++j) acc[j] += load(a + i + 16 * j) * load(b + i + 16 * j);
  for (; i < n; i += 16) acc[0] += load_n(a + i, n - i) * load_n(b + i, n - i);
  return lane_sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

template <class T>
void forward(T* y, float* rstd, const T* x, const T* w, int64_t rows, int64_t d, float eps) {
#pragma omp parallel for schedule(static) if (rows * d > 65536)
  for (int64_t t = 0; t < rows; ++t) {
    const T* xt = x + t * d;
    const float r = 1.0f / std::sqrt(dot(xt, xt, d) / static_cast<float>(d) + eps);
    if (rstd) rstd[t] = r;
    for (int64_t i = 0; i < d; i += 16) store_n(y + t * d + i, load_n(xt + i, d - i) * r * load_n(w + i, d - i), d - i);
  }
}

constexpr int64_t kRowsPerPiece = 64;  // dw is summed in pieces of fixed size, so threads do not change its bits

template <class T>
void backward(Ctx& ctx, T* dx, float* dw, const T* dy, const T* x, const T* w, const float* rstd, int64_t rows,
              int64_t d) {
  const int64_t pieces = ceil_div(rows, kRowsPerPiece);
  ScratchScope scope(*ctx.scratch);
  float* part = ctx.scratch->alloc_array<float>(pieces * d);
#pragma omp parallel if (rows * d > 65536)
  {
#pragma omp for schedule(static)
    for (int64_t p = 0; p < pieces; ++p) {
      float* dwp = part + p * d;
      __builtin_memset(dwp, 0, sizeof(float) * static_cast<size_t>(d));
      for (int64_t t = p * kRowsPerPiece; t < imin(rows, (p + 1) * kRowsPerPiece); ++t) {
        const T *xt = x + t * d, *g = dy + t * d;
        const float r = rstd[t];
        vf acc = {};
        for (int64_t i = 0; i < d; i += 16) {
          const vf gi = load_n(g + i, d - i), xi = load_n(xt + i, d - i);
          acc += gi * load_n(w + i, d - i) * xi;
          store_n(dwp + i, load_n(dwp + i, d - i) + gi * xi * r, d - i);
        }
        const float c = lane_sum(acc) * r * r * r / static_cast<float>(d);
        for (int64_t i = 0; i < d; i += 16) {
          const vf v = load_n(g + i, d - i) * load_n(w + i, d - i) * r - load_n(xt + i, d - i) * c;
          store_n(dx + t * d + i, load_n(dx + t * d + i, d - i) + v, d - i);
        }
      }
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < d; i += 16) {
      vf acc = load_n(dw + i, d - i);
      for (int64_t p = 0; p < pieces; ++p) acc += load_n(part + p * d + i, d - i);
      store_n(dw + i, acc, d - i);
    }
  }
}

}  // namespace

void rmsnorm(Ctx&, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps) {
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    forward(y.as<T>(), static_cast<float*>(rstd.data), x.as<T>(), w.as<T>(), x.shape[0], x.shape[1], eps);
  });
}
void rmsnorm_backward(Ctx& ctx, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd) {
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    backward(ctx, dx.as<T>(), dw.as<float>(), dy.as<T>(), x.as<T>(), w.as<T>(), rstd.as<float>(), x.shape[0],
             x.shape[1]);
  });
}

}  // namespace puyu::cpu::PUYU_ISA
