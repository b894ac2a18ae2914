// The gradient of attention without atomics: one kernel goes over the queries that see a tile of keys (dk, dv), one
// over the keys that a tile of queries sees (dq). Both recompute the probabilities from lse: seven products instead of
// five, and the same bits every time.
#include "kernels/cuda/attention.cuh"

namespace puyu::PUYU_CUDA {
namespace {

// delta[row] = do . o: a warp a row of [T H, HD].
template <class T>
__global__ void __launch_bounds__(128) delta_kernel(float* delta, const T* dout, const T* o, int64_t rows, int hd) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 4 + warp_id();
  if (row >= rows) return;
  float sum = 0;
  for (int i = lane_id(); i < hd; i += 32) sum += as_float(dout[row * hd + i]) * as_float(o[row * hd + i]);
  sum = warp_sum(sum);
  if (lane_id() == 0) delta[row] = sum;
}

template <class T>
struct Backward {
  T* dqkv;
  const T *dout, *qkv;
  const float *lse, *delta;
  const int32_t* cu;
  HeadShape h;
};

// lse (in powers of two) and delta of query rows r0 … r0 + 63; rows that are not there get p = 0.
template <class T>
PUYU_BODY void load_row_numbers(float* lse2, float* delta, const Backward<T>& b, int64_t begin, int kv, int64_t r0,
                                int64_t rows) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kAttentionThreads) {
    const int64_t r = r0 + i;
    const int64_t at =
        (begin + r / b.h.group) * b.h.kv * b.h.group + static_cast<int64_t>(kv) * b.h.group + r % b.h.group;
    lse2[i] = r < rows ? b.lse[at] * kLog2e : 3e38f;
    delta[i] = r < rows ? b.delta[at] : 0.0f;
  }
}
template <class T, int kDim>
PUYU_BODY void load_gradient_tile(T* tile, const Backward<T>& b, int64_t begin, int kv, int64_t r0, int64_t rows) {
  const int64_t width = static_cast<int64_t>(b.h.kv) * b.h.group * b.h.dim;
  load_query_tile<T, kDim>(tile, b.dout + begin * width + static_cast<int64_t>(kv) * b.h.group * b.h.dim, width, r0,
                           rows, b.h.group, b.h.dim);
}

// A fragment of 16 rows of a head's gradient: rows `stride` apart at `to`, the first `there` exist.
template <class T, int kTiles>
PUYU_BODY void store_rows(const float (&acc)[kTiles][4], float scale, T* to, int64_t stride, int64_t there, int hd) {
  PUYU_UNROLL
  for (int n = 0; n < kTiles; ++n)
    for (int e = 0; e < 4; ++e) {
      const int r = lane_id() / 4 + 8 * (e / 2), c = n * 8 + 2 * (lane_id() % 4) + e % 2;
      if (r < there && c < hd) to[r * stride + c] = from_float<T>(acc[n][e] * scale);
    }
}

// A block: one tile of keys of one kv head; each warp has 16 keys as its rows.
template <class T, int kDim>
__global__ void __launch_bounds__(kAttentionThreads) key_gradient_kernel(Backward<T> b) {
  constexpr int ld = kRowLd<T, kDim>, kTiles = kDim / 8;
  __shared__ float lse2[kTile], delta[kTile];
  T* k = static_cast<T*>(dynamic_shared());
  T *v = k + kTile * ld, *q = v + kTile * ld, *dout = q + kTile * ld;
  float* fragment = reinterpret_cast<float*>(dout + kTile * ld) + warp_id() * 16 * kKeyLd;
  const HeadShape& h = b.h;
  const int seq = blockIdx.z, kv = blockIdx.y;
  const int64_t begin = b.cu[seq], len = b.cu[seq + 1] - begin, rows = len * h.group;
  const int64_t j0 = static_cast<int64_t>(blockIdx.x) * kTile;
  if (j0 >= len) return;
  const int64_t keys = least(static_cast<int64_t>(kTile), len - j0);
  const int64_t head = begin * h.row + static_cast<int64_t>(kv) * (h.group + 2) * h.dim;
  const int64_t at = head + j0 * h.row + static_cast<int64_t>(h.group) * h.dim;  // the tile's first key
  load_key_tile<T, kDim>(k, b.qkv + at, h.row, keys, h.dim);
  load_key_tile<T, kDim>(v, b.qkv + at + h.dim, h.row, keys, h.dim);
  float dk[kTiles][4] = {}, dv[kTiles][4] = {};
  for (int64_t r0 = j0 * h.group / kTile * kTile; r0 < rows; r0 += kTile) {
    __syncthreads();
    load_query_tile<T, kDim>(q, b.qkv + head, h.row, r0, rows, h.group, h.dim);
    load_gradient_tile<T, kDim>(dout, b, begin, kv, r0, rows);
    load_row_numbers(lse2, delta, b, begin, kv, r0, rows);
    __syncthreads();
    float p[8][4] = {}, ds[8][4] = {};
    multiply<8, true>(p, k + warp_id() * 16 * ld, ld, q, ld, kDim);
    multiply<8, true>(ds, v + warp_id() * 16 * ld, ld, dout, ld, kDim);
    PUYU_UNROLL
    for (int n = 0; n < 8; ++n)
      for (int e = 0; e < 4; ++e) {
        const int c = n * 8 + 2 * (lane_id() % 4) + e % 2;
        const int64_t key = j0 + warp_id() * 16 + lane_id() / 4 + 8 * (e / 2);
        const bool sees = key <= (r0 + c) / h.group && r0 + c < rows;
        p[n][e] = sees ? exp2f(p[n][e] * h.scale2 - lse2[c]) : 0.0f;
        ds[n][e] = p[n][e] * (ds[n][e] - delta[c]);
      }
    multiply_fragment<kTiles>(dv, p, dout, ld, fragment);
    multiply_fragment<kTiles>(dk, ds, q, ld, fragment);
  }
  T* to = b.dqkv + at + warp_id() * 16 * h.row;
  store_rows<T, kTiles>(dk, h.scale, to, h.row, keys - warp_id() * 16, h.dim);
  store_rows<T, kTiles>(dv, 1.0f, to + h.dim, h.row, keys - warp_id() * 16, h.dim);
}

// A block: 64 query rows of one kv head, over the tiles of keys in order.
template <class T, int kDim>
__global__ void __launch_bounds__(kAttentionThreads) query_gradient_kernel(Backward<T> b) {
  constexpr int ld = kRowLd<T, kDim>, kTiles = kDim / 8;
  __shared__ float lse2[kTile], delta[kTile];
  T* k = static_cast<T*>(dynamic_shared());
  T *v = k + kTile * ld, *q = v + kTile * ld, *dout = q + kTile * ld;
  float* fragment = reinterpret_cast<float*>(dout + kTile * ld) + warp_id() * 16 * kKeyLd;
  const HeadShape& h = b.h;
  const int seq = blockIdx.z, kv = blockIdx.y;
  const int64_t begin = b.cu[seq], len = b.cu[seq + 1] - begin, rows = len * h.group;
  const int64_t r0 = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kTile;
  if (r0 >= rows) return;
  const int64_t head = begin * h.row + static_cast<int64_t>(kv) * (h.group + 2) * h.dim;
  load_query_tile<T, kDim>(q, b.qkv + head, h.row, r0, rows, h.group, h.dim);
  load_gradient_tile<T, kDim>(dout, b, begin, kv, r0, rows);
  load_row_numbers(lse2, delta, b, begin, kv, r0, rows);
  float dq[kTiles][4] = {};
  const int64_t last = least(r0 + kTile - 1, rows - 1) / h.group;
  for (int64_t j0 = 0; j0 <= last; j0 += kTile) {
    const int64_t at = head + j0 * h.row + static_cast<int64_t>(h.group) * h.dim;
    const int64_t keys = least(static_cast<int64_t>(kTile), len - j0);
    __syncthreads();
    load_key_tile<T, kDim>(k, b.qkv + at, h.row, keys, h.dim);
    load_key_tile<T, kDim>(v, b.qkv + at + h.dim, h.row, keys, h.dim);
    __syncthreads();
    float p[8][4] = {}, ds[8][4] = {};
    multiply<8, true>(p, q + warp_id() * 16 * ld, ld, k, ld, kDim);
    multiply<8, true>(ds, dout + warp_id() * 16 * ld, ld, v, ld, kDim);
    PUYU_UNROLL
    for (int n = 0; n < 8; ++n)
      for (int e = 0; e < 4; ++e) {
        const int r = warp_id() * 16 + lane_id() / 4 + 8 * (e / 2);
        const int64_t key = j0 + n * 8 + 2 * (lane_id() % 4) + e % 2;
        const bool sees = key <= (r0 + r) / h.group && r0 + r < rows;
        const float x = sees ? exp2f(p[n][e] * h.scale2 - lse2[r]) : 0.0f;
        ds[n][e] = x * (ds[n][e] - delta[r]);
      }
    multiply_fragment<kTiles>(dq, ds, k, ld, fragment);
  }
  PUYU_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int64_t r = r0 + warp_id() * 16 + lane_id() / 4 + 8 * i;
    if (r >= rows) continue;
    T* to = b.dqkv + head + r / h.group * h.row + r % h.group * h.dim;
    PUYU_UNROLL
    for (int n = 0; n < kTiles; ++n)
      for (int e = 0; e < 2; ++e) {
        const int c = n * 8 + 2 * (lane_id() % 4) + e;
        if (c < h.dim) to[c] = from_float<T>(dq[n][2 * i + e] * h.scale);
      }
  }
}

}  // namespace

void attention_backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads,
                        const PackedSeqs& seqs) {
  const int64_t T = qkv.shape[0], len = longest(seqs.cu, seqs.n, seqs.max_len, T), rows = T * heads.q;
  if (T == 0 || len == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* cu = on_device(ctx, seqs.cu, seqs.n + 1);
  float* delta = ctx.scratch->alloc_array<float>(rows);
  with_type(qkv.dtype, [&](auto tag) {
    using E = decltype(tag);
    launch(ctx, &delta_kernel<E>, {ceil_div(rows, 4)}, 128, 0, delta, do_.as<E>(), o.as<E>(), rows,
           static_cast<int>(heads.dim));
    const Backward<E> b{dqkv.as<E>(), do_.as<E>(), qkv.as<E>(), lse.as<float>(), delta, cu, head_shape(heads)};
    with_head_size(heads.dim, [&](auto size) {
      constexpr int kDim = decltype(size)::value;
      const int64_t shared = 4 * kTileBytes<E, kDim> + kFragmentBytes<E>;
      launch(ctx, &key_gradient_kernel<E, kDim>, {ceil_div(len, kTile), heads.kv, seqs.n}, kAttentionThreads, shared,
             b);
      launch(ctx, &query_gradient_kernel<E, kDim>, {ceil_div(len * heads.group(), kTile), heads.kv, seqs.n},
             kAttentionThreads, shared, b);
    });
  });
}

}  // namespace puyu::PUYU_CUDA
