// Ops that touch each element once, 16 bytes a thread and step where pointers allow it; AdamW; the sum of squares.
#include <cmath>

#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 132 * 16;  // several waves of an H100; the rest is a loop

int64_t blocks_for(int64_t n, int64_t per_thread) {
  const int64_t blocks = ceil_div(n, kThreads * per_thread);
  return blocks < kMostBlocks ? blocks : kMostBlocks;
}
bool aligned(const void* p) { return aligned_16({p}); }

template <class T, int In, int Out>
struct Streams {
  const T* in[In];
  T* out[Out];
};

// out = f(in) element by element. wide: all pointers are 16-byte aligned.
template <class T, int In, int Out, class F>
__global__ void __launch_bounds__(kThreads) map_kernel(Streams<T, In, Out> s, int64_t n, bool wide, F f) {
  constexpr int kN = Vec<T>::kN;
  const int64_t me = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t all = static_cast<int64_t>(gridDim.x) * kThreads, vectors = wide ? n / kN : 0;
  float x[In], y[Out];
  for (int64_t i = me; i < vectors; i += all) {
    Vec<T> a[In], b[Out];
    PUYU_UNROLL
    for (int j = 0; j < In; ++j) a[j] = load_vec(s.in[j] + i * kN);
    PUYU_UNROLL
    for (int e = 0; e < kN; ++e) {
      PUYU_UNROLL
      for (int j = 0; j < In; ++j) x[j] = as_float(a[j].v[e]);
      f(x, y);
      PUYU_UNROLL
      for (int j = 0; j < Out; ++j) b[j].v[e] = from_float<T>(y[j]);
    }
    PUYU_UNROLL
    for (int j = 0; j < Out; ++j) store_vec(s.out[j] + i * kN, b[j]);
  }
  for (int64_t i = vectors * kN + me; i < n; i += all) {
    for (int j = 0; j < In; ++j) x[j] = as_float(s.in[j][i]);
    f(x, y);
    for (int j = 0; j < Out; ++j) s.out[j][i] = from_float<T>(y[j]);
  }
}

template <class T, int In, int Out, class F>
void map(Ctx& ctx, Streams<T, In, Out> s, int64_t n, F f) {
  bool wide = true;
  for (const T* p : s.in) wide &= aligned(p);
  for (T* p : s.out) wide &= aligned(p);
  if (n > 0) launch(ctx, &map_kernel<T, In, Out, F>, {blocks_for(n, Vec<T>::kN)}, kThreads, 0, s, n, wide, f);
}

struct Add {
  PUYU_BODY void operator()(const float* x, float* y) const { y[0] = x[0] + x[1]; }
};
struct SwiGlu {
  PUYU_BODY void operator()(const float* x, float* y) const { y[0] = x[0] / (1.0f + expf(-x[0])) * x[1]; }
};
struct SwiGluBackward {  // dy, gate, up
  PUYU_BODY void operator()(const float* x, float* y) const {
    const float s = 1.0f / (1.0f + expf(-x[1])), silu = x[1] * s;
    y[0] = x[0] * x[2] * (s + silu * (1.0f - s));
    y[1] = x[0] * silu;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* y, int64_t n, float value) {
  const int64_t all = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += all)
    y[i] = from_float<T>(value);
}
template <class To, class From>
__global__ void __launch_bounds__(kThreads) cast_kernel(To* y, const From* x, int64_t n) {
  const int64_t all = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += all)
    y[i] = from_float<To>(as_float(x[i]));
}

struct AdamWStep {
  float lr, beta1, beta2, eps, decay, scale, correct1, correct2;
  PUYU_BODY void operator()(float& w, float& m, float& v, float g) const {
    g *= scale;
    m = m * beta1 + g * (1.0f - beta1);
    v = v * beta2 + g * g * (1.0f - beta2);
    w -= lr * (m * correct1 / (sqrtf(v * correct2) + eps) + decay * w);
  }
};
// tensor/dtype.h's random_bits() and to_bf16_stochastic().
PUYU_BODY uint32_t scrambled(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}
PUYU_BODY BF16 rounded_stochastically(float f, uint32_t random) {
  union {
    float f;
    uint32_t u;
  } bits{f};
  if ((bits.u & 0x7f800000u) == 0x7f800000u) return from_float<BF16>(f);
  BF16 out;
  out.bits = static_cast<uint16_t>((bits.u + (random >> 16)) >> 16);
  return out;
}
__global__ void __launch_bounds__(kThreads) adamw_bf16_kernel(BF16* w, float* m, float* v, const float* g, int64_t n,
                                                              AdamWStep step, uint64_t key, uint32_t first) {
  const int64_t all = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += all) {
    float a = as_float(w[i]), b = m[i], c = v[i];
    step(a, b, c, g[i]);
    const uint32_t index = first + static_cast<uint32_t>(i);
    m[i] = b, v[i] = c;
    w[i] = rounded_stochastically(
        a, scrambled(scrambled(index + static_cast<uint32_t>(key)) + static_cast<uint32_t>(key >> 32)));
  }
}
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* w, BF16* copy, float* m, float* v, const float* g, int64_t n, bool wide, AdamWStep step) {
  const int64_t me = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t all = static_cast<int64_t>(gridDim.x) * kThreads, vectors = wide ? n / 4 : 0;
  for (int64_t i = me; i < vectors; i += all) {
    Vec<float> a = load_vec(w + 4 * i), b = load_vec(m + 4 * i), c = load_vec(v + 4 * i);
    const Vec<float> d = load_vec(g + 4 * i);
    PUYU_UNROLL
    for (int e = 0; e < 4; ++e) step(a.v[e], b.v[e], c.v[e], d.v[e]);
    store_vec(w + 4 * i, a), store_vec(m + 4 * i, b), store_vec(v + 4 * i, c);
    PUYU_UNROLL
    for (int e = 0; copy && e < 4; ++e) copy[4 * i + e] = from_float<BF16>(a.v[e]);
  }
  for (int64_t i = vectors * 4 + me; i < n; i += all) {
    float a = w[i], b = m[i], c = v[i];
    step(a, b, c, g[i]);
    w[i] = a, m[i] = b, v[i] = c;
    if (copy) copy[i] = from_float<BF16>(a);
  }
}

constexpr int64_t kPiece = 8192;  // elements a block: fixed, so the sum's order is

template <class T>
__global__ void __launch_bounds__(kThreads) squares_kernel(double* part, const T* x, int64_t n) {
  __shared__ float slots[32];
  const int64_t from = static_cast<int64_t>(blockIdx.x) * kPiece;
  const int64_t to = least(n, from + kPiece);
  float sum = 0;
  for (int64_t i = from + threadIdx.x; i < to; i += kThreads) sum += as_float(x[i]) * as_float(x[i]);
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}
// The pieces' sum in double: thread i adds pieces i, i + 32, …, then the first thread adds the 32 sums.
__global__ void __launch_bounds__(32) sum_pieces_kernel(double* total, const double* part, int64_t pieces) {
  __shared__ double sums[32];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < pieces; i += 32) sum += part[i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 32; ++i) sum += sums[i];
  *total = sum;
}

}  // namespace

void add(Ctx& ctx, Tensor y, Tensor x) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T, 2, 1>(ctx, {{y.as<T>(), x.as<T>()}, {y.as<T>()}}, y.numel(), Add{});
  });
}
void swiglu(Ctx& ctx, Tensor y, Tensor gate, Tensor up) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T, 2, 1>(ctx, {{gate.as<T>(), up.as<T>()}, {y.as<T>()}}, y.numel(), SwiGlu{});
  });
}
void swiglu_backward(Ctx& ctx, Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up) {
  with_type(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T, 3, 2>(ctx, {{dy.as<T>(), gate.as<T>(), up.as<T>()}, {dgate.as<T>(), dup.as<T>()}}, dy.numel(),
                 SwiGluBackward{});
  });
}
void fill(Ctx& ctx, Tensor y, float value) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    if (y.numel() > 0)
      launch(ctx, &fill_kernel<T>, {blocks_for(y.numel(), 4)}, kThreads, 0, y.as<T>(), y.numel(), value);
  });
}
void cast(Ctx& ctx, Tensor y, Tensor x) {
  with_type(y.dtype, [&](auto to) {
    with_type(x.dtype, [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      if (y.numel() > 0)
        launch(ctx, &cast_kernel<To, From>, {blocks_for(y.numel(), 4)}, kThreads, 0, y.as<To>(), x.as<From>(),
               y.numel());
    });
  });
}

double sum_squares(Ctx& ctx, Tensor x) {
  const int64_t n = x.numel(), pieces = ceil_div(n, kPiece);
  if (n == 0) return 0;
  ScratchScope scope(*ctx.scratch);
  auto* part = reinterpret_cast<double*>(ctx.scratch->alloc_array<int64_t>(pieces + 1));
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(ctx, &squares_kernel<T>, {pieces}, kThreads, 0, part, x.as<T>(), n);
  });
  launch(ctx, &sum_pieces_kernel, {}, 32, 0, part + pieces, part, pieces);
  double total = 0;
  read_back(ctx, &total, part + pieces, sizeof total);
  return total;
}

void adamw(Ctx& ctx, Tensor w, Tensor copy, Tensor m, Tensor v, Tensor g, const AdamW& o) {
  const double t = static_cast<double>(o.step);
  const auto c1 = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(o.beta1), t)));
  const auto c2 = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(o.beta2), t)));
  const AdamWStep step{o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.grad_scale, c1, c2};
  const bool wide = aligned(w.data) && aligned(m.data) && aligned(v.data) && aligned(g.data);
  if (w.dtype == DType::kBF16 && w.numel() > 0)
    launch(ctx, &adamw_bf16_kernel, {blocks_for(w.numel(), 1)}, kThreads, 0, static_cast<BF16*>(w.data), m.as<float>(),
           v.as<float>(), g.as<float>(), w.numel(), step, o.rounding_key, o.first);
  else if (w.numel() > 0)
    launch(ctx, &adamw_kernel, {blocks_for(w.numel(), 4)}, kThreads, 0, w.as<float>(), static_cast<BF16*>(copy.data),
           m.as<float>(), v.as<float>(), g.as<float>(), w.numel(), wide, step);
}

}  // namespace puyu::PUYU_CUDA
