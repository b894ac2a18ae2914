// Our own matrix product on tensor cores: C [M, N] = A B^T (+ residual), A [M, K] and B [N, K] from wherever a source
// takes them. An element is summed over k in steps of 16 from 0 up whatever the tile, so a row's bits depend on the row
// alone: this is linear() in batch-invariant mode, for 4-bit weights, and for shapes that cuBLASLt will not take.
#pragma once
#include "kernels/cuda/mma.cuh"

namespace puyu::PUYU_CUDA {

constexpr int kDepth = 32;  // of k a stage

#ifdef PUYU_CUDA_EMULATION
inline void copy_async(void* shared, const void* global, bool there) {
  CHECK(reinterpret_cast<uintptr_t>(shared) % 16 == 0 && reinterpret_cast<uintptr_t>(global) % 16 == 0);
  if (there)
    std::memcpy(shared, global, 16);
  else
    std::memset(shared, 0, 16);
}
inline void copies_end() {}
template <int kLeft>
void copies_wait() {}
#else
// 16 bytes to shared memory without registers; zeros where there is nothing.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(there ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kLeft>
__device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
#endif

// Element (i, k) of a matrix in memory at p[i * outer + k * inner]. wide: inner is 1, rows are whole 16-byte units.
template <class T>
struct Plain {
  const T* p;
  int64_t outer, inner, rows, depth;
  bool wide;
  // Rows [i0, i0 + kRows) by k [k0, k0 + kDepth), zeros outside, to a tile of rows `ld` apart.
  template <int kRows, int kThreads>
  PUYU_BODY void load(T* tile, int ld, int64_t i0, int64_t k0) const {
    constexpr int kN = Vec<T>::kN, kUnits = kDepth / kN;
    if (wide) {
      for (int u = static_cast<int>(threadIdx.x); u < kRows * kUnits; u += kThreads) {
        const int i = u / kUnits, k = u % kUnits * kN;
        const bool there = i0 + i < rows && k0 + k < depth;
        copy_async(tile + i * ld + k, there ? p + (i0 + i) * outer + k0 + k : p, there);
      }
      return;
    }
    for (int u = static_cast<int>(threadIdx.x); u < kRows * kDepth; u += kThreads) {
      // Neighbouring threads take neighbours in memory.
      const int i = inner == 1 ? u / kDepth : u % kRows, k = inner == 1 ? u % kDepth : u / kRows;
      const bool there = i0 + i < rows && k0 + k < depth;
      tile[i * ld + k] = there ? p[(i0 + i) * outer + (k0 + k) * inner] : from_float<T>(0.0f);
    }
  }
};

struct GemmOut {
  void* c;
  const void* residual;  // of c's type, or null
  DType type;
  int64_t ld;
};
PUYU_BODY void write_out(const GemmOut& out, int64_t m, int64_t n, float v) {
  const int64_t at = m * out.ld + n;
  if (out.type == DType::kF32) {
    if (out.residual) v += static_cast<const float*>(out.residual)[at];
    static_cast<float*>(out.c)[at] = v;
  } else {
    if (out.residual) v += as_float(static_cast<const BF16*>(out.residual)[at]);
    static_cast<BF16*>(out.c)[at] = from_float<BF16>(v);
  }
}

// c [16 kM, 8 kN] += a b^T over one stage.
template <int kM, int kN>
PUYU_BODY void multiply_stage(float (&c)[kM][kN][4], const BF16* a, const BF16* b, int ld) {
  PUYU_UNROLL
  for (int k = 0; k < kDepth; k += 16) {
    FragA fa[kM];
    PUYU_UNROLL
    for (int i = 0; i < kM; ++i) fa[i] = load_a(a + i * 16 * ld + k, ld);
    PUYU_UNROLL
    for (int j = 0; j < kN; j += 2) {
      FragB b0, b1;
      load_b<true>(b0, b1, b + j * 8 * ld + k, ld);
      PUYU_UNROLL
      for (int i = 0; i < kM; ++i) mma_bf16(c[i][j], fa[i], b0), mma_bf16(c[i][j + 1], fa[i], b1);
    }
  }
}
template <int kM, int kN>
PUYU_BODY void multiply_stage(float (&c)[kM][kN][4], const float* a, const float* b, int ld) {
  const int row = lane_id() / 4, col = 2 * (lane_id() % 4);
  for (int k = 0; k < kDepth; ++k) PUYU_UNROLL
  for (int i = 0; i < kM; ++i) {
    const float a0 = a[(i * 16 + row) * ld + k], a1 = a[(i * 16 + row + 8) * ld + k];
    PUYU_UNROLL
    for (int j = 0; j < kN; ++j) {
      const float b0 = b[(j * 8 + col) * ld + k], b1 = b[(j * 8 + col + 1) * ld + k];
      c[i][j][0] = fmaf(a0, b0, c[i][j][0]), c[i][j][1] = fmaf(a0, b1, c[i][j][1]);
      c[i][j][2] = fmaf(a1, b0, c[i][j][2]), c[i][j][3] = fmaf(a1, b1, c[i][j][3]);
    }
  }
}

// A block's tile and each warp's part of it.
template <int kRows_, int kCols_, int kWarpRows_, int kWarpCols_>
struct Shape {
  static constexpr int kRows = kRows_, kCols = kCols_, kWarpRows = kWarpRows_, kWarpCols = kWarpCols_;
  static constexpr int kAcross = kCols / kWarpCols, kThreads = kRows / kWarpRows * kAcross * 32;
};
using SmallShape = Shape<16, 64, 16, 16>;  // few rows: decoding
using LargeShape = Shape<128, 128, 64, 32>;

constexpr int kStages = 3;
template <class T>
constexpr int kStageLd = kDepth + kPad<T>;
template <class T, class S>
constexpr int64_t kGemmShared =
    static_cast<int64_t>(kStages) * (S::kRows + S::kCols) * kStageLd<T> * static_cast<int64_t>(sizeof(T));

template <class T, class S, class A, class B>
__global__ void __launch_bounds__(S::kThreads) gemm_kernel(A a, B b, GemmOut out, int64_t M, int64_t N, int64_t K) {
  constexpr int ld = kStageLd<T>, kA = S::kRows * ld, kB = S::kCols * ld;
  T* as = static_cast<T*>(dynamic_shared());
  T* bs = as + kStages * kA;
  const int64_t m0 = static_cast<int64_t>(blockIdx.x) * S::kRows, n0 = static_cast<int64_t>(blockIdx.y) * S::kCols;
  const int wm = warp_id() / S::kAcross * S::kWarpRows, wn = warp_id() % S::kAcross * S::kWarpCols;
  const int64_t stages = (K + kDepth - 1) / kDepth;
  auto fetch = [&](int64_t s) {
    if (s < stages) {
      a.template load<S::kRows, S::kThreads>(as + s % kStages * kA, ld, m0, s * kDepth);
      b.template load<S::kCols, S::kThreads>(bs + s % kStages * kB, ld, n0, s * kDepth);
    }
    copies_end();  // an empty group keeps the count
  };
  for (int s = 0; s < kStages - 1; ++s) fetch(s);
  float acc[S::kWarpRows / 16][S::kWarpCols / 8][4] = {};
  for (int64_t s = 0; s < stages; ++s) {
    copies_wait<kStages - 2>();
    __syncthreads();  // stage s is there, and stage s - 1 is read
    fetch(s + kStages - 1);
    multiply_stage(acc, as + s % kStages * kA + wm * ld, bs + s % kStages * kB + wn * ld, ld);
  }
  PUYU_UNROLL
  for (int i = 0; i < S::kWarpRows / 16; ++i) PUYU_UNROLL
  for (int j = 0; j < S::kWarpCols / 8; ++j)
    for (int e = 0; e < 4; ++e) {
      const int64_t m = m0 + wm + i * 16 + lane_id() / 4 + 8 * (e / 2);
      const int64_t n = n0 + wn + j * 8 + 2 * (lane_id() % 4) + e % 2;
      if (m < M && n < N) write_out(out, m, n, acc[i][j][e]);
    }
}

template <class T, class A, class B>
void gemm(Ctx& ctx, const A& a, const B& b, const GemmOut& out, int64_t M, int64_t N, int64_t K) {
  if (M == 0 || N == 0) return;
  auto go = [&](auto shape) {
    using S = decltype(shape);
    launch(ctx, &gemm_kernel<T, S, A, B>, {ceil_div(M, S::kRows), ceil_div(N, S::kCols)}, S::kThreads,
           kGemmShared<T, S>, a, b, out, M, N, K);
  };
  if (M <= 32)
    go(SmallShape{});
  else
    go(LargeShape{});
}

}  // namespace puyu::PUYU_CUDA
