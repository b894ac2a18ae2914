// W4A16: 4-bit weights become the activations' type on their way to shared memory.
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/quantized.cuh"

namespace puyu::PUYU_CUDA {
namespace {

template <class T>
struct Dequantised {
  const uint8_t* bytes;
  const float *scale, *zero;
  int64_t rows, depth, groups;
  // A stage is 32 numbers of a row in 16 bytes; a thread takes four of these.
  template <int kRows, int kThreads>
  PUYU_BODY void load(T* tile, int ld, int64_t i0, int64_t k0) const {
    static_assert(kDepth == 32);
    for (int u = static_cast<int>(threadIdx.x); u < kRows * 4; u += kThreads) {
      const int i = u / 4, at = u % 4 * 4;
      const int64_t n = i0 + i, g = k0 / kQuantGroup;
      uint32_t word = 0;
      float s = 0, z = 0;
      if (n < rows) {
        memcpy(&word, bytes + (n * groups * kQuantGroup + k0) / 2 + at, 4);
        s = scale[n * groups + g], z = zero[n * groups + g];
      }
      T* to = tile + i * ld + at;
      PUYU_UNROLL
      for (int b = 0; b < 4; ++b) {
        to[b] = from_float<T>((static_cast<float>(word >> (8 * b) & 15) - z) * s);
        to[b + 16] = from_float<T>((static_cast<float>(word >> (8 * b + 4) & 15) - z) * s);
      }
    }
  }
};

}  // namespace

void linear_int4(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0];
  const PackedInt4 p = packed_int4(w.data, N, K);
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const bool wide = K % Vec<T>::kN == 0 && aligned_16({x.data});
    gemm<T>(ctx, Plain<T>{x.as<T>(), K, 1, M, K, wide},
            Dequantised<T>{p.bytes, p.scale, p.zero, N, K, ceil_div(K, kQuantGroup)},
            {y.data, residual.data, y.dtype, N}, M, N, K);
  });
}

}  // namespace puyu::PUYU_CUDA
