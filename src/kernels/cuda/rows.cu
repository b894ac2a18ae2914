// Ops on rows: embedding, gathering, bias, RoPE.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/pieces.cuh"

namespace puyu::PUYU_CUDA {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) add_pieces_kernel(float* y, const float* part, int64_t pieces, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  float sum = y[i];
  for (int64_t p = 0; p < pieces; ++p) sum += part[p * n + i];
  y[i] = sum;
}

// y[i] = x[index[i]] in units of 16, 4, 2 or 1 bytes, zeros for -1 where that is allowed: a block a row.
template <class U>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(U* y, const U* x, const int32_t* index, int64_t rows, int64_t units, bool missing) {
  const int64_t i = blockIdx.x, from = index[i];
  if (from < (missing ? -1 : 0) || from >= rows) trap("a row or token id outside the table");
  for (int64_t j = threadIdx.x; j < units; j += kThreads) y[i * units + j] = from < 0 ? U{} : x[from * units + j];
}

void gather(Ctx& ctx, Tensor y, Tensor x, const int32_t* index, bool missing) {
  const int64_t n = y.shape[0], bytes = x.shape[1] * dtype_size(x.dtype);
  if (n == 0 || bytes == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, index, n);
  auto go = [&](auto unit) {
    using U = decltype(unit);
    launch(ctx, &gather_kernel<U>, {n}, kThreads, 0, static_cast<U*>(y.data), static_cast<const U*>(x.data), at,
           x.shape[0], bytes / static_cast<int64_t>(sizeof(U)), missing);
  };
  if (bytes % 16 == 0 && aligned_16({y.data, x.data}))
    go(Chunk{});
  else if (bytes % 4 == 0)
    go(uint32_t{});
  else if (bytes % 2 == 0)
    go(uint16_t{});
  else
    go(uint8_t{});
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    scatter_add_kernel(T* y, const T* x, const int32_t* index, int64_t rows, int64_t d) {
  const int64_t i = blockIdx.x, to = index[i];
  if (to < 0 || to >= rows) trap("a row outside the tensor");
  for (int64_t j = threadIdx.x; j < d; j += kThreads)
    y[to * d + j] = from_float<T>(as_float(y[to * d + j]) + as_float(x[i * d + j]));
}

constexpr int kColumns = 4;  // of each thread and pass

// One block a token; the first token of an id adds up the rows of all of them, in their order.
template <class T>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_kernel(float* table, const T* dy, const int32_t* ids, int64_t tokens, int64_t d) {
  __shared__ int earlier;
  __shared__ int chunk[kThreads];
  const int64_t me = blockIdx.x;
  const int id = ids[me];
  if (id < 0) return;  // no token of this rank's part of the vocabulary
  if (threadIdx.x == 0) earlier = 0;
  __syncthreads();
  for (int64_t s = threadIdx.x; s < me; s += kThreads)
    if (ids[s] == id) earlier = 1;
  __syncthreads();
  if (earlier) return;
  for (int64_t c0 = 0; c0 < d; c0 += kThreads * kColumns) {
    float sum[kColumns];
    PUYU_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const int64_t col = c0 + c * kThreads + threadIdx.x;
      sum[c] = col < d ? table[id * d + col] : 0.0f;
    }
    for (int64_t s0 = me; s0 < tokens; s0 += kThreads) {
      __syncthreads();
      chunk[threadIdx.x] = s0 + threadIdx.x < tokens ? ids[s0 + threadIdx.x] : -1;
      __syncthreads();
      for (int k = 0; k < kThreads; ++k) {
        if (chunk[k] != id) continue;
        PUYU_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          const int64_t col = c0 + c * kThreads + threadIdx.x;
          if (col < d) sum[c] += as_float(dy[(s0 + k) * d + col]);
        }
      }
    }
    PUYU_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const int64_t col = c0 + c * kThreads + threadIdx.x;
      if (col < d) table[id * d + col] = sum[c];
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_bias_kernel(T* y, const T* b, int64_t n) {
  const int64_t row = blockIdx.x;
  for (int64_t j = threadIdx.x; j < n; j += kThreads)
    y[row * n + j] = from_float<T>(as_float(y[row * n + j]) + as_float(b[j]));
}

constexpr int64_t kRows = 64;

template <class T>
__global__ void __launch_bounds__(kThreads) sum_rows_kernel(float* part, const T* dy, int64_t rows, int64_t n) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, from = blockIdx.y * kRows;
  if (j >= n) return;
  float sum = 0;
  const int64_t to = least(rows, from + kRows);
  for (int64_t t = from; t < to; ++t) sum += as_float(dy[t * n + j]);
  part[blockIdx.y * n + j] = sum;
}

// A block a token: the heads of its row that are rotated are all but every group's last, the values.
template <class T>
__global__ void __launch_bounds__(kThreads) rope_kernel(T* qkv, const int32_t* positions, const float* table,
                                                        int64_t max_pos, int heads, int group, int hd, float sign) {
  const int64_t t = blockIdx.x, pos = positions[t];
  if (pos < 0 || pos >= max_pos) trap("a position outside the rope table");
  const float* cs = table + pos * hd;
  const int half = hd / 2, all = heads * (group + 1) * half;
  T* row = qkv + t * heads * (group + 2) * hd;
  for (int i = static_cast<int>(threadIdx.x); i < all; i += kThreads) {
    const int e = i % half, head = i / half;
    T* p = row + (head / (group + 1) * (group + 2) + head % (group + 1)) * hd + e;
    const float c = cs[e], s = cs[half + e] * sign, a = as_float(p[0]), b = as_float(p[half]);
    p[0] = from_float<T>(a * c - b * s);
    p[half] = from_float<T>(b * c + a * s);
  }
}

}  // namespace

void add_pieces(Ctx& ctx, float* y, const float* part, int64_t pieces, int64_t n) {
  if (n > 0) launch(ctx, &add_pieces_kernel, {ceil_div(n, kThreads)}, kThreads, 0, y, part, pieces, n);
}

void embedding(Ctx& ctx, Tensor y, Tensor table, const int32_t* ids) { gather(ctx, y, table, ids, true); }
void gather_rows(Ctx& ctx, Tensor y, Tensor x, const int32_t* index) { gather(ctx, y, x, index, false); }
void embedding_backward(Ctx& ctx, Tensor dtable, Tensor dy, const int32_t* ids) {
  const int64_t tokens = dy.shape[0];
  if (tokens == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, ids, tokens);
  with_type(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &embedding_backward_kernel<T>, {tokens}, kThreads, 0, dtable.as<float>(), dy.as<T>(), at, tokens,
           dy.shape[1]);
  });
}
void scatter_add_rows(Ctx& ctx, Tensor y, Tensor x, const int32_t* index) {
  const int64_t n = x.shape[0];
  if (n == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, index, n);
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &scatter_add_kernel<T>, {n}, kThreads, 0, y.as<T>(), x.as<T>(), at, y.shape[0], x.shape[1]);
  });
}
void add_bias(Ctx& ctx, Tensor y, Tensor b) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    if (y.shape[0] > 0) launch(ctx, &add_bias_kernel<T>, {y.shape[0]}, kThreads, 0, y.as<T>(), b.as<T>(), y.shape[1]);
  });
}
void add_bias_backward(Ctx& ctx, Tensor db, Tensor dy) {
  const int64_t rows = dy.shape[0], n = dy.shape[1], pieces = ceil_div(rows, kRows);
  if (rows == 0 || n == 0) return;
  ScratchScope scope(*ctx.scratch);
  float* part = ctx.scratch->alloc_array<float>(pieces * n);
  with_type(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &sum_rows_kernel<T>, {ceil_div(n, kThreads), pieces}, kThreads, 0, part, dy.as<T>(), rows, n);
  });
  add_pieces(ctx, db.as<float>(), part, pieces, n);
}
void rope(Ctx& ctx, Tensor qkv, const int32_t* positions, Tensor table, Heads heads, bool inverse) {
  const int64_t tokens = qkv.shape[0];
  if (tokens == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* at = on_device(ctx, positions, tokens);
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &rope_kernel<T>, {tokens}, kThreads, 0, qkv.as<T>(), at, table.as<float>(), table.shape[0],
           static_cast<int>(heads.kv), static_cast<int>(heads.group()), static_cast<int>(heads.dim),
           inverse ? -1.0f : 1.0f);
  });
}

}  // namespace puyu::PUYU_CUDA
