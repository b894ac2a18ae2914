// W8A8 and W4A8 on the int8 tensor cores. Sums of products are exact integers, so no order matters; W4A8's groups add
// up in f32 in their order.
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/quantized.cuh"

namespace puyu::PUYU_CUDA {
namespace {

constexpr int kGroup = static_cast<int>(kQuantGroup);  // of k a stage
constexpr int kGroupLd = kGroup + 16;                  // bytes from row to row: rows start in different banks

// Rows of int8, [rows, padded K].
struct Int8Rows {
  const int8_t* p;
  int64_t rows, width;
  template <int kRows, int kThreads>
  PUYU_BODY void load(int8_t* tile, int64_t i0, int64_t g) const {
    for (int u = static_cast<int>(threadIdx.x); u < kRows * (kGroup / 16); u += kThreads) {
      const int i = u / (kGroup / 16), k = u % (kGroup / 16) * 16;
      const bool there = i0 + i < rows;
      copy_async(tile + i * kGroupLd + k, there ? p + (i0 + i) * width + g * kGroup + k : p, there);
    }
  }
};
// Rows of 4-bit numbers become bytes as they are loaded.
struct Int4Rows {
  const uint8_t* p;
  int64_t rows, width;  // in numbers
  template <int kRows, int kThreads>
  PUYU_BODY void load(int8_t* tile, int64_t i0, int64_t g) const {
    for (int u = static_cast<int>(threadIdx.x); u < kRows * (kGroup / 32); u += kThreads) {
      const int i = u / (kGroup / 32), k = u % (kGroup / 32) * 32;
      Vec<uint32_t> low{{{0, 0, 0, 0}}}, high = low;
      if (i0 + i < rows) {
        const Vec<uint8_t> v = load_vec(p + ((i0 + i) * width + g * kGroup + k) / 2);
        for (int w = 0; w < 4; ++w) low.v[w] = v.chunk.w[w] & 0x0f0f0f0fu, high.v[w] = v.chunk.w[w] >> 4 & 0x0f0f0f0fu;
      }
      int8_t* to = tile + i * kGroupLd + k;
      store_vec(reinterpret_cast<uint32_t*>(to), low), store_vec(reinterpret_cast<uint32_t*>(to + 16), high);
    }
  }
};

// How sums of integers become numbers: at the end of K (W8A8)…
struct ByRow {
  const float *x_scale, *w_scale;
  static constexpr bool kEachGroup = false;
  PUYU_BODY float value(float, int32_t sum, int64_t m, int64_t n, int64_t) const {
    return static_cast<float>(sum) * (w_scale[n] * x_scale[m]);
  }
};
// …or of each group (W4A8).
struct ByGroup {
  const float* x_scale;
  const int32_t* x_sum;
  const float *w_scale, *w_zero;
  int64_t groups;
  static constexpr bool kEachGroup = true;
  PUYU_BODY float value(float before, int32_t sum, int64_t m, int64_t n, int64_t g) const {
    const int32_t zero = static_cast<int32_t>(w_zero[n * groups + g]);
    const float v = static_cast<float>(sum - zero * x_sum[m * groups + g]);
    return fmaf(v, w_scale[n * groups + g] * x_scale[m * groups + g], before);
  }
};

PUYU_BODY uint32_t word_at(const int8_t* p) { return *reinterpret_cast<const uint32_t*>(p); }

template <int kM, int kN>
PUYU_BODY void multiply_group(int32_t (&c)[kM][kN][4], const int8_t* a, const int8_t* b) {
  const int row = lane_id() / 4, at = lane_id() % 4 * 4;
  PUYU_UNROLL
  for (int k = 0; k < kGroup; k += 32) {
    FragA fa[kM];
    PUYU_UNROLL
    for (int i = 0; i < kM; ++i) {
      const int8_t* p = a + (i * 16 + row) * kGroupLd + k + at;
      fa[i] = {{word_at(p), word_at(p + 8 * kGroupLd), word_at(p + 16), word_at(p + 8 * kGroupLd + 16)}};
    }
    PUYU_UNROLL
    for (int j = 0; j < kN; ++j) {
      const int8_t* p = b + (j * 8 + row) * kGroupLd + k + at;
      const FragB fb = {{word_at(p), word_at(p + 16)}};
      PUYU_UNROLL
      for (int i = 0; i < kM; ++i) mma_int8(c[i][j], fa[i], fb);
    }
  }
}

template <class S>
constexpr int64_t kInt8Shared = 2 * static_cast<int64_t>(S::kRows + S::kCols) * kGroupLd;

template <class S, class B, class Scale>
__global__ void __launch_bounds__(S::kThreads)
    int8_kernel(Int8Rows a, B b, Scale scale, GemmOut out, int64_t M, int64_t N, int64_t groups) {
  constexpr int kM = S::kWarpRows / 16, kN = S::kWarpCols / 8;
  constexpr int kA = S::kRows * kGroupLd, kB = S::kCols * kGroupLd;
  int8_t* as = static_cast<int8_t*>(dynamic_shared());
  int8_t* bs = as + 2 * kA;
  const int64_t m0 = static_cast<int64_t>(blockIdx.x) * S::kRows, n0 = static_cast<int64_t>(blockIdx.y) * S::kCols;
  const int wm = warp_id() / S::kAcross * S::kWarpRows, wn = warp_id() % S::kAcross * S::kWarpCols;
  auto fetch = [&](int64_t g) {
    if (g < groups) {
      a.template load<S::kRows, S::kThreads>(as + g % 2 * kA, m0, g);
      b.template load<S::kCols, S::kThreads>(bs + g % 2 * kB, n0, g);
    }
    copies_end();
  };
  // f(m, n, i, j, e) for every element of the lane that is there.
  auto elements = [&](auto&& f) {
    PUYU_UNROLL
    for (int i = 0; i < kM; ++i) PUYU_UNROLL
    for (int j = 0; j < kN; ++j) PUYU_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int64_t m = m0 + wm + i * 16 + lane_id() / 4 + 8 * (e / 2);
      const int64_t n = n0 + wn + j * 8 + 2 * (lane_id() % 4) + e % 2;
      if (m < M && n < N) f(m, n, i, j, e);
    }
  };
  float total[kM][kN][4] = {};
  int32_t acc[kM][kN][4] = {};
  fetch(0);
  for (int64_t g = 0; g < groups; ++g) {
    copies_wait<0>();
    __syncthreads();
    fetch(g + 1);
    multiply_group(acc, as + g % 2 * kA + wm * kGroupLd, bs + g % 2 * kB + wn * kGroupLd);
    if constexpr (Scale::kEachGroup)
      elements([&](int64_t m, int64_t n, int i, int j, int e) {
        total[i][j][e] = scale.value(total[i][j][e], acc[i][j][e], m, n, g);
        acc[i][j][e] = 0;
      });
  }
  elements([&](int64_t m, int64_t n, int i, int j, int e) {
    write_out(out, m, n, Scale::kEachGroup ? total[i][j][e] : scale.value(0, acc[i][j][e], m, n, 0));
  });
}

using SmallInt8 = Shape<16, 64, 16, 16>;
using LargeInt8 = Shape<64, 64, 32, 32>;

template <class B, class Scale>
void multiply_int8(Ctx& ctx, const Int8Rows& a, const B& b, const Scale& scale, const GemmOut& out, int64_t groups) {
  if (a.rows == 0 || b.rows == 0) return;
  auto go = [&](auto shape) {
    using S = decltype(shape);
    launch(ctx, &int8_kernel<S, B, Scale>, {ceil_div(a.rows, S::kRows), ceil_div(b.rows, S::kCols)}, S::kThreads,
           kInt8Shared<S>, a, b, scale, out, a.rows, b.rows, groups);
  };
  if (a.rows <= 16)
    go(SmallInt8{});
  else
    go(LargeInt8{});
}

}  // namespace

void linear_int8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0], width = padded_depth(K);
  ScratchScope scope(*ctx.scratch);
  auto* q = static_cast<int8_t*>(ctx.scratch->alloc(DType::kI8, {M, width}).data);
  float* scale = ctx.scratch->alloc_array<float>(M);
  quantize_to(ctx, q, scale, x, width);
  const PackedInt8 p = packed_int8(w.data, N, K);
  multiply_int8(ctx, {q, M, width}, Int8Rows{p.rows, N, width}, ByRow{scale, p.scale},
                {y.data, residual.data, y.dtype, N}, width / kGroup);
}
void linear_w4a8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0], width = padded_depth(K), groups = width / kGroup;
  ScratchScope scope(*ctx.scratch);
  auto* q = static_cast<int8_t*>(ctx.scratch->alloc(DType::kI8, {M, width}).data);
  float* scale = ctx.scratch->alloc_array<float>(M * groups);
  int32_t* sum = ctx.scratch->alloc_array<int32_t>(M * groups);
  quantize_row_groups(ctx, q, scale, sum, x);
  const PackedInt4 p = packed_int4(w.data, N, K);
  multiply_int8(ctx, {q, M, width}, Int4Rows{p.bytes, N, width}, ByGroup{scale, sum, p.scale, p.zero, groups},
                {y.data, residual.data, y.dtype, N}, groups);
}

}  // namespace puyu::PUYU_CUDA
