// What the attention kernels share: tiles of 64 rows in shared memory, and where the keys of a sequence lie. Query rows
// of a kv head are numbered r = position * G + g over its group of G heads, so that a tile of keys serves the group.
#pragma once
#include "kernels/cuda/mma.cuh"

namespace puyu::PUYU_CUDA {

constexpr int kTile = 64;  // query rows a block, keys a tile; tiles align with absolute positions
static_assert(kTile == kPage);
constexpr int kAttentionThreads = 128;  // four warps of 16 rows
constexpr float kLog2e = 1.44269504088896340736f, kLn2 = 0.69314718055994530942f;

struct HeadShape {
  int kv, group, dim;
  int64_t row;   // of qkv
  float scale2;  // log2(e) / sqrt(HD): scores are powers of two
  float scale;   // 1 / sqrt(HD)
};
HeadShape head_shape(const Heads& h);

// Width of a row in shared memory, in elements.
template <class T, int kDim>
constexpr int kRowLd = kDim + kPad<T>;
template <class T, int kDim>
constexpr int64_t kTileBytes = static_cast<int64_t>(kTile) * kRowLd<T, kDim> * static_cast<int64_t>(sizeof(T));
// f32 probabilities on their way from fragments to operands: 16 rows for each warp.
template <class T>
constexpr int64_t kFragmentBytes = sizeof(T) == 4 ? 4 * 16 * kKeyLd * 4 : 0;

// Copies a row of hd elements to shared memory by `step` threads of which this is `lane`, zeros up to kDim.
template <class T, int kDim>
PUYU_BODY void copy_row(T* to, const T* from, int hd, int lane, int step) {
  constexpr int kN = Vec<T>::kN;
  if (hd % kN == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
    for (int i = lane; i < kDim / kN; i += step)
      store_vec(to + i * kN, i * kN < hd ? load_vec(from + i * kN) : Vec<T>{{{0, 0, 0, 0}}});
  } else {
    for (int i = lane; i < kDim; i += step) to[i] = i < hd ? from[i] : from_float<T>(0.0f);
  }
}
template <class T, int kDim>
PUYU_BODY void zero_row(T* to, int lane, int step) {
  for (int i = lane; i < kDim; i += step) to[i] = from_float<T>(0.0f);
}

// Threads that share a row of a tile.
constexpr int kRowThreads = 8, kRowsAtOnce = kAttentionThreads / kRowThreads;

// Rows [r0, r0 + 64) of x, whose row (position, g) is at x + position * stride + g * hd; zeros from row `rows` on.
template <class T, int kDim>
PUYU_BODY void load_query_tile(T* tile, const T* x, int64_t stride, int64_t r0, int64_t rows, int group, int hd) {
  const int lane = static_cast<int>(threadIdx.x) % kRowThreads;
  for (int i = static_cast<int>(threadIdx.x) / kRowThreads; i < kTile; i += kRowsAtOnce) {
    const int64_t r = r0 + i;
    if (r < rows)
      copy_row<T, kDim>(tile + i * kRowLd<T, kDim>, x + r / group * stride + r % group * hd, hd, lane, kRowThreads);
    else
      zero_row<T, kDim>(tile + i * kRowLd<T, kDim>, lane, kRowThreads);
  }
}
// Keys (or values) of one head of a packed batch: row i at x + i * stride; zeros from `keys` on.
template <class T, int kDim>
PUYU_BODY void load_key_tile(T* tile, const T* x, int64_t stride, int64_t keys, int hd) {
  const int lane = static_cast<int>(threadIdx.x) % kRowThreads;
  for (int i = static_cast<int>(threadIdx.x) / kRowThreads; i < kTile; i += kRowsAtOnce) {
    if (i < keys)
      copy_row<T, kDim>(tile + i * kRowLd<T, kDim>, x + i * stride, hd, lane, kRowThreads);
    else
      zero_row<T, kDim>(tile + i * kRowLd<T, kDim>, lane, kRowThreads);
  }
}

// One lane's two rows of the online softmax.
struct RowState {
  float most[2], sum[2];
};
// The greatest of a row, known to the four lanes that share it.
PUYU_BODY float quad_max(float v) {
  for (int m = 1; m <= 2; m *= 2) {
    const float o = __shfl_xor_sync(0xffffffffu, v, m);
    v = o > v ? o : v;
  }
  return v;
}
PUYU_BODY float quad_sum(float v) {
  for (int m = 1; m <= 2; m *= 2) v += __shfl_xor_sync(0xffffffffu, v, m);
  return v;
}

// Scores of a tile become probabilities under the running maximum; what the rows' outputs so far shrink by.
// visible[i]: keys of this tile that the lane's row i sees.
PUYU_BODY void softmax_step(float (&s)[8][4], float (&shrink)[2], RowState& state, const int (&visible)[2],
                            float scale2) {
  const int col = 2 * (lane_id() % 4);
  PUYU_UNROLL
  for (int i = 0; i < 2; ++i) {
    float most = -3e38f;
    PUYU_UNROLL
    for (int n = 0; n < 8; ++n)
      for (int e = 0; e < 2; ++e) {
        float& x = s[n][2 * i + e];
        x = n * 8 + col + e < visible[i] ? x * scale2 : -3e38f;
        most = x > most ? x : most;
      }
    most = quad_max(most);
    const float now = most > state.most[i] ? most : state.most[i];
    shrink[i] = exp2f(state.most[i] - now);
    float sum = 0;
    PUYU_UNROLL
    for (int n = 0; n < 8; ++n)
      for (int e = 0; e < 2; ++e) {
        float& x = s[n][2 * i + e];
        x = n * 8 + col + e < visible[i] ? exp2f(x - now) : 0.0f;
        sum += x;
      }
    state.most[i] = now;
    state.sum[i] = state.sum[i] * shrink[i] + sum;
  }
}

// f(integral constant of the padded head size).
template <int kValue>
struct Int {
  static constexpr int value = kValue;
};
template <class F>
void with_head_size(int64_t dim, F&& f) {
  if (dim <= 64)
    f(Int<64>{});
  else if (dim <= 128)
    f(Int<128>{});
  else
    fail("[attention] heads of ", dim, " numbers: the CUDA kernels go up to 128; use --device cpu");
}

// The greatest of a list of lengths when the CPU can read it, else the bound.
int64_t longest(const int32_t* cu, int64_t n, int64_t known, int64_t bound);

}  // namespace puyu::PUYU_CUDA
