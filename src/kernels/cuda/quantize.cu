// Numbers of weights and activations in 8 and 4 bits, and the packed forms that the products read.
#include "kernels/cuda/quantized.cuh"

#include <cmath>

#include "kernels/cuda/linear.cuh"

namespace puyu::PUYU_CUDA {
namespace {

constexpr int kThreads = 128;

PUYU_BODY int rounded(float x, float inv) { return static_cast<int>(rintf(x * inv)); }

// A block a row: its greatest, then its numbers, zeros from K to `width`.
template <class T>
__global__ void __launch_bounds__(kThreads) rows_kernel(int8_t* q, float* scale, const T* x, int64_t K, int64_t width) {
  __shared__ float slots[32];
  const int64_t row = blockIdx.x;
  float most = 0;
  for (int64_t k = threadIdx.x; k < K; k += kThreads) most = fmaxf(most, fabsf(as_float(x[row * K + k])));
  most = block_max(most, slots);
  const float inv = most > 0 ? 127.0f / most : 0.0f;
  if (threadIdx.x == 0) scale[row] = most / 127.0f;
  for (int64_t k = threadIdx.x; k < width; k += kThreads)
    q[row * width + k] = static_cast<int8_t>(k < K ? rounded(as_float(x[row * K + k]), inv) : 0);
}

// A warp a group of a row: numbers, scale and the numbers' sum.
template <class T>
__global__ void __launch_bounds__(kThreads)
    row_groups_kernel(int8_t* q, float* scale, int32_t* sum, const T* x, int64_t K, int64_t groups, int64_t all) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (at >= all) return;
  const int64_t row = at / groups, k0 = at % groups * kQuantGroup;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float v[4], most = 0;
  PUYU_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int64_t k = k0 + lane + 32 * i;
    v[i] = k < K ? as_float(x[row * K + k]) : 0.0f;
    most = fmaxf(most, fabsf(v[i]));
  }
  most = warp_max(most);
  const float inv = most > 0 ? 127.0f / most : 0.0f;
  float total = 0;  // at most 128 * 127: exact
  PUYU_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int n = rounded(v[i], inv);
    q[at * kQuantGroup + lane + 32 * i] = static_cast<int8_t>(n);
    total += static_cast<float>(n);
  }
  total = warp_sum(total);
  if (lane == 0) scale[at] = most / 127.0f, sum[at] = static_cast<int32_t>(total);
}

// A warp a group of 128 weights: its range, which holds 0, in 15 steps.
template <class T>
__global__ void __launch_bounds__(kThreads)
    groups_kernel(uint8_t* q, float* scale, float* zero, const T* w, int64_t K, int64_t groups, int64_t all) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (at >= all) return;
  const int64_t row = at / groups, from = at % groups * kQuantGroup + threadIdx.x % 32;
  float v[4], low = 0, high = 0;
  PUYU_UNROLL
  for (int i = 0; i < 4; ++i) {
    v[i] = from + 32 * i < K ? as_float(w[row * K + from + 32 * i]) : 0.0f;
    low = fminf(low, v[i]), high = fmaxf(high, v[i]);
  }
  low = -warp_max(-low), high = warp_max(high);
  const float s = (high - low) / 15.0f, inv = s > 0 ? 1.0f / s : 0.0f, z = rintf(-low * inv);
  if (threadIdx.x % 32 == 0) scale[at] = s, zero[at] = z;
  PUYU_UNROLL
  for (int i = 0; i < 4; ++i)
    if (from + 32 * i < K)
      q[row * K + from + 32 * i] = static_cast<uint8_t>(fminf(fmaxf(rintf(v[i] * inv) + z, 0.0f), 15.0f));
}

__global__ void __launch_bounds__(kThreads)
    pack_int8_kernel(int8_t* to, float* to_scale, const int8_t* q, const float* scale, int64_t K, int64_t width) {
  const int64_t n = blockIdx.x;
  for (int64_t k = threadIdx.x; k < width; k += kThreads) to[n * width + k] = k < K ? q[n * K + k] : int8_t{0};
  if (threadIdx.x == 0) to_scale[n] = scale[n];
}
// Byte i of 16: number i of 32 in the low half, number i + 16 in the high half. What pads a row is its group's zero.
__global__ void __launch_bounds__(kThreads) pack_int4_kernel(PackedInt4 to, const uint8_t* q, const float* scale,
                                                             const float* zero, int64_t K, int64_t groups) {
  const int64_t n = blockIdx.x;
  for (int64_t i = threadIdx.x; i < groups * kQuantGroup / 2; i += kThreads) {
    int v[2];
    for (int h = 0; h < 2; ++h) {
      const int64_t k = i / 16 * 32 + i % 16 + 16 * h;
      v[h] = k < K ? q[n * K + k] : static_cast<int>(zero[n * groups + k / kQuantGroup]);
    }
    to.bytes[n * groups * kQuantGroup / 2 + i] = static_cast<uint8_t>(v[0] | v[1] << 4);
  }
  for (int64_t g = threadIdx.x; g < groups; g += kThreads)
    to.scale[n * groups + g] = scale[n * groups + g], to.zero[n * groups + g] = zero[n * groups + g];
}

}  // namespace

void quantize_to(Ctx& ctx, int8_t* q, float* scale, Tensor x, int64_t width) {
  if (x.shape[0] == 0) return;
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &rows_kernel<T>, {x.shape[0]}, kThreads, 0, q, scale, x.as<T>(), x.shape[1], width);
  });
}
void quantize_row_groups(Ctx& ctx, int8_t* q, float* scale, int32_t* sum, Tensor x) {
  const int64_t groups = ceil_div(x.shape[1], kQuantGroup), all = x.shape[0] * groups;
  if (all == 0) return;
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &row_groups_kernel<T>, {ceil_div(all, kThreads / 32)}, kThreads, 0, q, scale, sum, x.as<T>(),
           x.shape[1], groups, all);
  });
}

void quantize_rows(Ctx& ctx, Tensor q, Tensor scale, Tensor x) {
  quantize_to(ctx, static_cast<int8_t*>(q.data), scale.as<float>(), x, x.shape[1]);
}
void quantize_groups(Ctx& ctx, Tensor q, Tensor scale, Tensor zero, Tensor w) {
  const int64_t groups = ceil_div(w.shape[1], kQuantGroup), all = w.shape[0] * groups;
  if (all == 0) return;
  with_type(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &groups_kernel<T>, {ceil_div(all, kThreads / 32)}, kThreads, 0, static_cast<uint8_t*>(q.data),
           scale.as<float>(), zero.as<float>(), w.as<T>(), w.shape[1], groups, all);
  });
}

int64_t packed_int8_bytes(Tensor q) { return q.shape[0] * (padded_depth(q.shape[1]) + 4); }
Tensor pack_weight_int8(Ctx& ctx, void* dst, Tensor q, Tensor scale) {
  const int64_t N = q.shape[0], K = q.shape[1];
  const PackedInt8 to = packed_int8(dst, N, K);
  if (N > 0)
    launch(ctx, &pack_int8_kernel, {N}, kThreads, 0, to.rows, to.scale, static_cast<const int8_t*>(q.data),
           scale.as<float>(), K, padded_depth(K));
  q.data = dst, q.layout = Layout::kPacked;
  return q;
}
int64_t packed_int4_bytes(const Ctx&, int64_t N, int64_t K, DType) {
  return N * (padded_depth(K) / 2 + ceil_div(K, kQuantGroup) * 8);
}
Tensor pack_weight_int4(Ctx& ctx, void* dst, Tensor q, Tensor scale, Tensor zero, DType act) {
  const int64_t N = q.shape[0], K = q.shape[1];
  if (N > 0)
    launch(ctx, &pack_int4_kernel, {N}, kThreads, 0, packed_int4(dst, N, K), static_cast<const uint8_t*>(q.data),
           scale.as<float>(), zero.as<float>(), K, ceil_div(K, kQuantGroup));
  q.data = dst, q.dtype = DType::kI4, q.layout = act == DType::kI8 ? Layout::kPackedA8 : Layout::kPacked;
  return q;
}

}  // namespace puyu::PUYU_CUDA
