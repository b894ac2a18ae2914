// Matrix products: cuBLASLt, and our own (gemm.cuh) where bits must not depend on the batch or cuBLASLt has nothing.
#include "kernels/cuda/linear.cuh"

#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/gemm_lt.h"

namespace puyu::PUYU_CUDA {
namespace {

template <class T>
Plain<T> plain(const void* p, int64_t outer, int64_t inner, int64_t rows, int64_t depth) {
  return {static_cast<const T*>(p),
          outer,
          inner,
          rows,
          depth,
          inner == 1 && outer % Vec<T>::kN == 0 && depth % Vec<T>::kN == 0 && aligned_16({p})};
}

// One operand of a row-major product: element (i, k) at p[i * outer + k * inner], one of the strides 1.
struct Side {
  const void* p;
  int64_t outer, inner;
};

// y [M, N] = a b^T (+ residual) by our own kernel.
void own(Ctx& ctx, DType type, const Side& a, const Side& b, const GemmOut& out, int64_t M, int64_t N, int64_t K) {
  with_type(type, [&](auto tag) {
    using T = decltype(tag);
    gemm<T>(ctx, plain<T>(a.p, a.outer, a.inner, M, K), plain<T>(b.p, b.outer, b.inner, N, K), out, M, N, K);
  });
}
// The same by cuBLASLt: our row-major y [M, N] is its column-major [N, M], so b comes first.
bool library(Ctx& ctx, DType type, const Side& a, const Side& b, const GemmOut& out, int64_t M, int64_t N, int64_t K) {
  cuda::LtCall c;
  c.transpose_a = b.inner == 1, c.transpose_b = a.inner != 1;
  c.m = N, c.n = M, c.k = K;
  c.a = b.p, c.lda = b.inner == 1 ? b.outer : b.inner;
  c.b = a.p, c.ldb = a.inner == 1 ? a.outer : a.inner;
  c.c = out.residual, c.d = out.c, c.ldd = out.ld;
  c.in = type, c.out = out.type;
  return cuda::gemm_lt(ctx, c);
}
void product(Ctx& ctx, DType type, const Side& a, const Side& b, const GemmOut& out, int64_t M, int64_t N, int64_t K,
             bool invariant) {
  if (M == 0 || N == 0) return;
  if (invariant || !library(ctx, type, a, b, out, M, N, K)) own(ctx, type, a, b, out, M, N, K);
}

}  // namespace

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  if (w.dtype == DType::kI8) return linear_int8(ctx, y, x, w, residual);
  if (w.layout == Layout::kPackedA8) return linear_w4a8(ctx, y, x, w, residual);
  if (w.dtype == DType::kI4) return linear_int4(ctx, y, x, w, residual);
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0];
  product(ctx, x.dtype, {x.data, K, 1}, {w.data, K, 1}, {y.data, residual.data, y.dtype, N}, M, N, K,
          ctx.batch_invariant);
}
void linear_dx(Ctx& ctx, Tensor dx, Tensor dy, Tensor w, bool accumulate) {
  const int64_t M = dy.shape[0], N = dy.shape[1], K = w.shape[1];
  product(ctx, dy.dtype, {dy.data, N, 1}, {w.data, 1, K}, {dx.data, accumulate ? dx.data : nullptr, dx.dtype, K}, M, K,
          N, false);
}
void linear_dw(Ctx& ctx, Tensor dw, Tensor dy, Tensor x) {
  const int64_t M = dy.shape[0], N = dy.shape[1], K = x.shape[1];
  product(ctx, x.dtype, {dy.data, 1, N}, {x.data, 1, K}, {dw.data, dw.data, DType::kF32, K}, N, K, M, false);
}

// A packed weight is the weight: the tensor cores read rows as they are.
int64_t packed_weight_bytes(const Ctx&, Tensor w) {
  return w.dtype == DType::kI8 ? packed_int8_bytes(w) : w.numel() * dtype_size(w.dtype);
}
Tensor pack_weight(Ctx& ctx, void* dst, Tensor w) {
  Tensor copy = w;
  copy.data = dst;
  PUYU_CUDA::cast(ctx, copy, w);
  copy.layout = Layout::kPacked;
  return copy;
}

}  // namespace puyu::PUYU_CUDA
