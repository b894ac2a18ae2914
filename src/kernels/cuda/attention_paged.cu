// Attention over pages, and what writes the pages. In decoding there are few query rows and many keys: without
// ctx.batch_invariant the keys are then split over blocks, and the parts are put together in order.
#include "kernels/cuda/attention_forward.cuh"

namespace puyu::PUYU_CUDA {
namespace {

// Puts the parts of one token and head together: a warp a row.
template <class T>
__global__ void __launch_bounds__(32) combine_kernel(T* o, const float* part, int64_t rows, int splits, int hd) {
  const int64_t row = blockIdx.x;
  const int64_t step = rows * (hd + 2);
  const float* mine = part + row * (hd + 2);
  float most = -3e38f, sum = 0;
  for (int s = 0; s < splits; ++s) most = fmaxf(most, mine[s * step + hd]);
  for (int s = 0; s < splits; ++s) sum += mine[s * step + hd + 1] * exp2f(mine[s * step + hd] - most);
  for (int c = static_cast<int>(threadIdx.x); c < hd; c += 32) {
    float x = 0;
    for (int s = 0; s < splits; ++s) x += mine[s * step + c] * exp2f(mine[s * step + hd] - most);
    o[row * hd + c] = from_float<T>(x / sum);
  }
}

struct Pages {
  uint8_t* pages;
  int64_t count, row_bytes;
  int bits;
};

// A warp writes one row: the key or value of one token and kv head.
template <class T>
__global__ void __launch_bounds__(128)
    append_kernel(Pages k, Pages v, const T* qkv, const int32_t* cu, const int32_t* past, const int32_t* table,
                  int64_t n, int64_t max_pages, HeadShape h) {
  const int64_t t = blockIdx.x;
  int64_t seq = 0, high = n;  // the sequence that has token t: the last with cu[seq] <= t
  while (high - seq > 1) {
    const int64_t mid = (seq + high) / 2;
    if (cu[mid] <= t)
      seq = mid;
    else
      high = mid;
  }
  const int64_t pos = past[seq] + (t - cu[seq]), page = table[seq * max_pages + pos / kPage];
  if (page < 0 || page >= k.count) trap("page outside the cache");
  const int lane = lane_id();
  for (int job = warp_id(); job < 2 * h.kv; job += static_cast<int>(blockDim.x) / 32) {
    const Pages to = job % 2 ? v : k;
    const T* x = qkv + t * h.row + (static_cast<int64_t>(job / 2) * (h.group + 2) + h.group + job % 2) * h.dim;
    uint8_t* row = to.pages + ((page * h.kv + job / 2) * kPage + pos % kPage) * to.row_bytes;
    if (to.bits == 0) {
      for (int i = lane; i < h.dim; i += 32) reinterpret_cast<T*>(row)[i] = x[i];
      continue;
    }
    float low = 3e38f, top = -3e38f;
    for (int i = lane; i < h.dim; i += 32) low = fminf(low, as_float(x[i])), top = fmaxf(top, as_float(x[i]));
    low = -warp_max(-low), top = warp_max(top);
    const float steps = static_cast<float>((1 << to.bits) - 1), scale = (top - low) / steps;
    const float inv = top > low ? steps / (top - low) : 0.0f;
    if (lane == 0) memcpy(row, &scale, 4), memcpy(row + 4, &low, 4);
    auto number = [&](int i) { return static_cast<int>(rintf((as_float(x[i]) - low) * inv)); };
    const int bytes = to.bits == 8 ? h.dim : h.dim / 2;
    for (int i = lane; i < bytes; i += 32)
      row[8 + i] = static_cast<uint8_t>(to.bits == 8 ? number(i) : number(i) | number(i + bytes) << 4);
  }
}

int bits_of(const Tensor& pages, int64_t hd) {
  if (pages.dtype != DType::kU8) return 0;
  return pages.shape[3] == hd + 8 ? 8 : 4;
}
Pages pages_of(const Tensor& t, int64_t hd) {
  return {static_cast<uint8_t*>(t.data), t.shape[0], t.shape[3] * dtype_size(t.dtype), bits_of(t, hd)};
}

// Tiles of keys a split takes: enough splits to fill the device twice, none shorter than 4 tiles.
int64_t tiles_per_split(const Ctx& ctx, int64_t blocks, int64_t tiles) {
  const int64_t wanted = ctx.batch_invariant ? 1 : 2 * multiprocessors() / blocks;
  if (wanted <= 1) return tiles;
  const int64_t each = ceil_div(tiles, wanted);
  return each < 4 ? 4 : each;
}

}  // namespace

void kv_append(Ctx& ctx, Tensor qkv, Heads heads, const PagedSeqs& s) {
  const int64_t T = qkv.shape[0];
  if (T == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t *cu = on_device(ctx, s.cu, s.n + 1), *past = on_device(ctx, s.past, s.n),
                *table = on_device(ctx, s.table, s.n * s.max_pages);
  with_type(qkv.dtype, [&](auto tag) {
    using E = decltype(tag);
    launch(ctx, &append_kernel<E>, {T}, 128, 0, pages_of(s.k_pages, heads.dim), pages_of(s.v_pages, heads.dim),
           qkv.as<E>(), cu, past, table, s.n, s.max_pages, head_shape(heads));
  });
}

void attention_paged(Ctx& ctx, Tensor o, Tensor qkv, Heads heads, const PagedSeqs& s) {
  const int64_t T = qkv.shape[0], rows = longest(s.cu, s.n, 0, T) * heads.group();
  if (T == 0 || rows == 0) return;
  int64_t keys = s.max_pages * kPage;
  if (host_can_read(s.past) && host_can_read(s.cu)) {
    keys = 1;
    for (int64_t i = 0; i < s.n; ++i) {
      const int64_t mine = s.past[i] + s.cu[i + 1] - s.cu[i];
      keys = mine > keys ? mine : keys;
    }
  }
  ScratchScope scope(*ctx.scratch);
  const int32_t *cu = on_device(ctx, s.cu, s.n + 1), *past = on_device(ctx, s.past, s.n),
                *table = on_device(ctx, s.table, s.n * s.max_pages);
  const int64_t blocks = ceil_div(rows, kTile) * heads.kv * s.n, tiles = ceil_div(keys, kTile);
  const int64_t each = tiles_per_split(ctx, blocks, tiles), splits = ceil_div(tiles, each);
  const Pages k = pages_of(s.k_pages, heads.dim), v = pages_of(s.v_pages, heads.dim);
  float* part = splits > 1 ? ctx.scratch->alloc_array<float>(splits * T * heads.q * (heads.dim + 2)) : nullptr;
  with_type(qkv.dtype, [&](auto tag) {
    using E = decltype(tag);
    with_head_size(heads.dim, [&](auto size) {
      constexpr int kDim = decltype(size)::value;
      using Keys = PagedKeys<E, kDim>;
      const Keys source{k.pages, v.pages, past, table, s.max_pages, k.count, k.row_bytes, k.bits};
      const AttentionOut<E> out{o.as<E>(), nullptr, part, static_cast<int>(splits), each, T};
      launch(ctx, &attend_kernel<E, kDim, Keys>, {ceil_div(rows, kTile), heads.kv, s.n * splits}, kAttentionThreads,
             kForwardShared<E, kDim>, source, out, qkv.as<E>(), cu, head_shape(heads));
    });
    if (splits > 1)
      launch(ctx, &combine_kernel<E>, {T * heads.q}, 32, 0, o.as<E>(), part, T * heads.q, static_cast<int>(splits),
             static_cast<int>(heads.dim));
  });
}

}  // namespace puyu::PUYU_CUDA
