// Flash attention forward (Dao et al. 2022), for packed batches and for pages alike: a block is 64 query rows of one kv
// head and goes over the tiles of keys in order. A row's bits depend on nothing but its own query and keys.
#pragma once
#include "kernels/cuda/attention.cuh"

namespace puyu::PUYU_CUDA {

// Keys and values of a packed batch.
template <class T, int kDim>
struct PackedKeys {
  const T* qkv;
  const int32_t* cu;
  PUYU_BODY int64_t past(int) const { return 0; }
  PUYU_BODY void load(T* k, T* v, const HeadShape& h, int seq, int kv, int64_t tile, int64_t keys) const {
    const T* from =
        qkv + (cu[seq] + tile * kTile) * h.row + (static_cast<int64_t>(kv) * (h.group + 2) + h.group) * h.dim;
    load_key_tile<T, kDim>(k, from, h.row, keys, h.dim);
    load_key_tile<T, kDim>(v, from + h.dim, h.row, keys, h.dim);
  }
};

// Rows of 8- or 4-bit numbers (kernels.h, kv_row_bytes) become T as they are loaded.
template <class T, int kDim>
PUYU_BODY void load_quantised_tile(T* tile, const uint8_t* from, int64_t row_bytes, int64_t keys, int hd, int bits) {
  const int lane = static_cast<int>(threadIdx.x) % kRowThreads;
  for (int i = static_cast<int>(threadIdx.x) / kRowThreads; i < kTile; i += kRowsAtOnce) {
    T* to = tile + i * kRowLd<T, kDim>;
    if (i >= keys) {
      zero_row<T, kDim>(to, lane, kRowThreads);
      continue;
    }
    const uint8_t* row = from + i * row_bytes;
    float scale, zero;  // rows need not be aligned
    memcpy(&scale, row, 4), memcpy(&zero, row + 4, 4);
    for (int e = lane; e < kDim; e += kRowThreads) {
      int q = 0;
      if (e < hd) q = bits == 8 ? row[8 + e] : row[8 + e % (hd / 2)] >> (e < hd / 2 ? 0 : 4) & 15;
      to[e] = from_float<T>(e < hd ? fmaf(static_cast<float>(q), scale, zero) : 0.0f);
    }
  }
}

// Keys and values in pages, as they are (bits 0) or quantised.
template <class T, int kDim>
struct PagedKeys {
  const uint8_t *k_pages, *v_pages;
  const int32_t *past_of, *table;
  int64_t max_pages, pages, row_bytes;
  int bits;
  PUYU_BODY int64_t past(int seq) const { return past_of[seq]; }
  PUYU_BODY void load(T* k, T* v, const HeadShape& h, int seq, int kv, int64_t tile, int64_t keys) const {
    const int64_t page = table[seq * max_pages + tile];
    if (page < 0 || page >= pages) trap("page outside the cache");
    const int64_t at = (page * h.kv + kv) * kPage * row_bytes;
    if (bits) {
      load_quantised_tile<T, kDim>(k, k_pages + at, row_bytes, keys, h.dim, bits);
      load_quantised_tile<T, kDim>(v, v_pages + at, row_bytes, keys, h.dim, bits);
    } else {
      load_key_tile<T, kDim>(k, reinterpret_cast<const T*>(k_pages + at), h.dim, keys, h.dim);
      load_key_tile<T, kDim>(v, reinterpret_cast<const T*>(v_pages + at), h.dim, keys, h.dim);
    }
  }
};

// Where results go: o and lse; or, when keys are split over blocks, part [splits, T, H, HD + 2]: o unscaled, maximum,
// sum.
template <class T>
struct AttentionOut {
  T* o;
  float *lse, *part;
  int splits;
  int64_t tiles;   // of keys in a split
  int64_t tokens;  // T
};

template <class T, int kDim, class Keys>
__global__ void __launch_bounds__(kAttentionThreads)
    attend_kernel(Keys source, AttentionOut<T> out, const T* qkv, const int32_t* cu, HeadShape h) {
  constexpr int ld = kRowLd<T, kDim>, kTiles = kDim / 8;
  T* q = static_cast<T*>(dynamic_shared());
  T *k = q + kTile * ld, *v = k + kTile * ld;
  float* fragment = reinterpret_cast<float*>(v + kTile * ld) + warp_id() * 16 * kKeyLd;
  const int seq = static_cast<int>(blockIdx.z) / out.splits, split = static_cast<int>(blockIdx.z) % out.splits;
  const int kv = blockIdx.y;
  const int64_t begin = cu[seq], rows = (cu[seq + 1] - begin) * h.group, past = source.past(seq);
  const int64_t r0 = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kTile;  // those with most keys come first
  if (r0 >= rows) return;
  load_query_tile<T, kDim>(q, qkv + begin * h.row + static_cast<int64_t>(kv) * (h.group + 2) * h.dim, h.row, r0, rows,
                           h.group, h.dim);
  const int64_t last = past + least(r0 + kTile - 1, rows - 1) / h.group, all = past + rows / h.group;
  RowState state{{-3e38f, -3e38f}, {0, 0}};
  float acc[kTiles][4] = {};
  int64_t row[2], pos[2];
  for (int i = 0; i < 2; ++i) {
    row[i] = r0 + warp_id() * 16 + lane_id() / 4 + 8 * i;
    pos[i] = row[i] < rows ? past + row[i] / h.group : -1;
  }
  const int64_t first_tile = split * out.tiles, end_tile = least(last / kTile + 1, first_tile + out.tiles);
  for (int64_t j = first_tile; j < end_tile; ++j) {
    __syncthreads();
    source.load(k, v, h, seq, kv, j, least(static_cast<int64_t>(kTile), all - j * kTile));
    __syncthreads();
    float s[8][4] = {}, shrink[2];
    multiply<8, true>(s, q + warp_id() * 16 * ld, ld, k, ld, kDim);
    int visible[2];
    for (int i = 0; i < 2; ++i)
      visible[i] = static_cast<int>(least(static_cast<int64_t>(kTile), pos[i] + 1 - j * kTile));
    softmax_step(s, shrink, state, visible, h.scale2);
    PUYU_UNROLL
    for (int n = 0; n < kTiles; ++n)
      for (int e = 0; e < 4; ++e) acc[n][e] *= shrink[e / 2];
    multiply_fragment<kTiles>(acc, s, v, ld, fragment);
  }
  PUYU_UNROLL
  for (int i = 0; i < 2; ++i) {
    const float sum = quad_sum(state.sum[i]), inv = 1.0f / sum;
    if (row[i] >= rows) continue;
    const int64_t head = static_cast<int64_t>(kv) * h.group + row[i] % h.group;
    const int64_t at = (begin + row[i] / h.group) * h.kv * h.group + head;
    const bool first = lane_id() % 4 == 0;
    float* part = out.splits > 1 ? out.part + (split * out.tokens * h.kv * h.group + at) * (h.dim + 2) : nullptr;
    PUYU_UNROLL
    for (int n = 0; n < kTiles; ++n)
      for (int e = 0; e < 2; ++e) {
        const int c = n * 8 + 2 * (lane_id() % 4) + e;
        if (c >= h.dim) continue;
        if (part)
          part[c] = acc[n][2 * i + e];
        else
          out.o[at * h.dim + c] = from_float<T>(acc[n][2 * i + e] * inv);
      }
    if (part && first) part[h.dim] = state.most[i], part[h.dim + 1] = sum;
    if (!part && out.lse && first) out.lse[at] = state.most[i] * kLn2 + logf(sum);
  }
}

template <class T, int kDim>
constexpr int64_t kForwardShared = 3 * kTileBytes<T, kDim> + kFragmentBytes<T>;

}  // namespace puyu::PUYU_CUDA
