// Ops that touch each element once: embedding, rope, swiglu, copies, sums, AdamW.
#include <cmath>

#include "kernels/cpu/isa.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

constexpr int64_t kPiece = 8192;  // elements a job; a multiple of 16

// f(i, n): elements [i, i + n), n <= 16, for all i; jobs of kPiece elements.
template <class F>
PUYU_INLINE void for_vectors(int64_t total, F&& f) {
#pragma omp parallel for schedule(static) if (total > 4 * kPiece)
  for (int64_t b = 0; b < total; b += kPiece) {
    const int64_t e = imin(total, b + kPiece);
    int64_t i = b;
    for (; i + 16 <= e; i += 16) f(i, 16);
    if (i < e) f(i, e - i);
  }
}

template <class T>
PUYU_INLINE void rotate(T* p, const float* cs, int64_t hd, float sign) {
  const int64_t h = hd / 2;
  for (int64_t i = 0; i < h; i += 16) {
    const int64_t n = h - i;
    const vf c = load_n(cs + i, n), s = load_n(cs + h + i, n) * sign;
    const vf a = load_n(p + i, n), b = load_n(p + h + i, n);
    store_n(p + i, a * c - b * s, n);
    store_n(p + h + i, b * c + a * s, n);
  }
}

}  // namespace

void embedding(Ctx&, Tensor y, Tensor table, const int32_t* ids) {
  const int64_t rows = y.shape[0], bytes = y.shape[1] * dtype_size(y.dtype);
#pragma omp parallel for schedule(static) if (rows * bytes > 262144)
  for (int64_t t = 0; t < rows; ++t) {
    CHECK(ids[t] >= -1 && ids[t] < table.shape[0], "token id outside the vocabulary");
    char* row = static_cast<char*>(y.data) + t * bytes;
    if (ids[t] < 0)
      __builtin_memset(row, 0, static_cast<size_t>(bytes));
    else
      __builtin_memcpy(row, static_cast<char*>(table.data) + ids[t] * bytes, static_cast<size_t>(bytes));
  }
}
void embedding_backward(Ctx&, Tensor dtable, Tensor dy, const int32_t* ids) {
  const int64_t rows = dy.shape[0], d = dy.shape[1];
  float* g = dtable.as<float>();
  // Threads split the columns, so tokens that share a row add in their order.
  with_type(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* p = dy.as<T>();
#pragma omp parallel for schedule(static) if (rows * d > 65536)
    for (int64_t i = 0; i < d; i += 64)
      for (int64_t t = 0; t < rows; ++t)
        for (int64_t j = i; ids[t] >= 0 && j < imin(d, i + 64); j += 16)
          store_n(g + ids[t] * d + j, load_n(g + ids[t] * d + j, d - j) + load_n(p + t * d + j, d - j), d - j);
  });
}

void add_bias(Ctx&, Tensor y, Tensor b) {
  const int64_t rows = y.shape[0], n = y.shape[1];
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    T *p = y.as<T>(), *bias = b.as<T>();
#pragma omp parallel for schedule(static) if (rows * n > 65536)
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t j = 0; j < n; j += 16)
        store_n(p + t * n + j, load_n(p + t * n + j, n - j) + load_n(bias + j, n - j), n - j);
  });
}
void add_bias_backward(Ctx&, Tensor db, Tensor dy) {
  const int64_t rows = dy.shape[0], n = dy.shape[1];
  float* g = db.as<float>();
  // Threads split the columns, so each sum has one order.
  with_type(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* p = dy.as<T>();
#pragma omp parallel for schedule(static) if (rows * n > 65536)
    for (int64_t j = 0; j < n; j += 16) {
      vf sum = load_n(g + j, n - j);
      for (int64_t t = 0; t < rows; ++t) sum += load_n(p + t * n + j, n - j);
      store_n(g + j, sum, n - j);
    }
  });
}

void rope(Ctx&, Tensor qkv, const int32_t* positions, Tensor table, Heads heads, bool inverse) {
  const int64_t rows = qkv.shape[0], hd = heads.dim, group = heads.group();
  const float sign = inverse ? -1.0f : 1.0f;
  with_type(qkv.dtype, [&](auto tag) {
    using T = decltype(tag);
    T* p = qkv.as<T>();
#pragma omp parallel for schedule(static) if (rows * heads.row() > 65536)
    for (int64_t t = 0; t < rows; ++t) {
      CHECK(positions[t] >= 0 && positions[t] < table.shape[0], "position outside the rope table");
      const float* cs = table.as<float>() + positions[t] * hd;
      for (int64_t kv = 0; kv < heads.kv; ++kv)
        for (int64_t g = 0; g <= group; ++g)  // the group's q heads, then k
          rotate(p + t * heads.row() + (kv * (group + 2) + g) * hd, cs, hd, sign);
    }
  });
}

void swiglu(Ctx&, Tensor y, Tensor gate, Tensor up) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    T *o = y.as<T>(), *g = gate.as<T>(), *u = up.as<T>();
    for_vectors(y.numel(), [=](int64_t i, int64_t n) {
      const vf a = load_n(g + i, n);
      store_n(o + i, a / (1.0f + vexp(-a)) * load_n(u + i, n), n);
    });
  });
}
void swiglu_backward(Ctx&, Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up) {
  with_type(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    T *dg = dgate.as<T>(), *du = dup.as<T>(), *d = dy.as<T>(), *g = gate.as<T>(), *u = up.as<T>();
    for_vectors(dy.numel(), [=](int64_t i, int64_t n) {
      const vf a = load_n(g + i, n), b = load_n(u + i, n), e = load_n(d + i, n);
      const vf s = 1.0f / (1.0f + vexp(-a)), silu = a * s;
      store_n(du + i, e * silu, n);
      store_n(dg + i, e * b * (s + silu * (1.0f - s)), n);
    });
  });
}

void gather_rows(Ctx&, Tensor y, Tensor x, const int32_t* index) {
  const int64_t bytes = x.shape[1] * dtype_size(x.dtype);
  for (int64_t i = 0; i < y.shape[0]; ++i) {
    CHECK(index[i] >= 0 && index[i] < x.shape[0]);
    __builtin_memcpy(static_cast<char*>(y.data) + i * bytes, static_cast<char*>(x.data) + index[i] * bytes,
                     static_cast<size_t>(bytes));
  }
}
void scatter_add_rows(Ctx&, Tensor y, Tensor x, const int32_t* index) {
  const int64_t d = x.shape[1];
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    for (int64_t i = 0; i < x.shape[0]; ++i) {
      CHECK(index[i] >= 0 && index[i] < y.shape[0]);
      T *to = y.as<T>() + index[i] * d, *from = x.as<T>() + i * d;
      for (int64_t j = 0; j < d; j += 16) store_n(to + j, load_n(to + j, d - j) + load_n(from + j, d - j), d - j);
    }
  });
}
void add(Ctx&, Tensor y, Tensor x) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    T *a = y.as<T>(), *b = x.as<T>();
    for_vectors(y.numel(), [=](int64_t i, int64_t n) { store_n(a + i, load_n(a + i, n) + load_n(b + i, n), n); });
  });
}
void fill(Ctx&, Tensor y, float value) {
  with_type(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    T* a = y.as<T>();
    for_vectors(y.numel(), [=](int64_t i, int64_t n) { store_n(a + i, splat(value), n); });
  });
}
void cast(Ctx&, Tensor y, Tensor x) {
  with_type(y.dtype, [&](auto to) {
    with_type(x.dtype, [&](auto from) {
      auto* a = y.as<decltype(to)>();
      auto* b = x.as<decltype(from)>();
      for_vectors(y.numel(), [=](int64_t i, int64_t n) { store_n(a + i, load_n(b + i, n), n); });
    });
  });
}

double sum_squares(Ctx& ctx, Tensor x) {
  const int64_t n = x.numel(), pieces = ceil_div(n, kPiece);
  ScratchScope scope(*ctx.scratch);
  float* part = ctx.scratch->alloc_array<float>(pieces);
  with_type(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* p = x.as<T>();
#pragma omp parallel for schedule(static) if (pieces > 4)
    for (int64_t b = 0; b < pieces; ++b) {
      vf acc = {};
      const int64_t e = imin(n, (b + 1) * kPiece);
      for (int64_t i = b * kPiece; i < e; i += 16) {
        const vf v = load_n(p + i, e - i);
        acc += v * v;
      }
      part[b] = lane_sum(acc);
    }
  });
  double total = 0;
  for (int64_t b = 0; b < pieces; ++b) total += static_cast<double>(part[b]);
  return total;
}

namespace {

// tensor/dtype.h's random_bits() and to_bf16_stochastic() on 16 lanes.
PUYU_INLINE vu scramble_lanes(vu x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}
PUYU_INLINE vu random_lanes(uint64_t key, uint32_t index) {
  const vu lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return scramble_lanes(scramble_lanes(lane + index + static_cast<uint32_t>(key)) + static_cast<uint32_t>(key >> 32));
}
PUYU_INLINE void store_stochastic(BF16* p, vf v, vu random, int64_t n) {
  const vu u = (vu)v, rounded = (u + (random >> 16)) >> 16;
  const vu bits = (u & 0x7f800000u) == 0x7f800000u ? bf16_bits(v) : rounded;
  const vh h = __builtin_convertvector(bits, vh);
  if (n >= 16) {
    __builtin_memcpy(p, &h, 32);
    return;
  }
  __builtin_memcpy(p, &h, sizeof(BF16) * static_cast<size_t>(n));
}

// put(i, w, n): where the new weights go.
template <class T, class Put>
PUYU_INLINE void adamw_of(const T* W, Tensor m, Tensor v, Tensor g, const AdamW& o, Put&& put) {
  float *M = m.as<float>(), *V = v.as<float>(), *G = g.as<float>();
  const double t = static_cast<double>(o.step);
  const auto c1 = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(o.beta1), t)));
  const auto c2 = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(o.beta2), t)));
  for_vectors(m.numel(), [=](int64_t i, int64_t n) {
    const vf gi = load_n(G + i, n) * o.grad_scale;
    const vf mi = load_n(M + i, n) * o.beta1 + gi * (1.0f - o.beta1);
    const vf vi_ = load_n(V + i, n) * o.beta2 + gi * gi * (1.0f - o.beta2);
    store_n(M + i, mi, n);
    store_n(V + i, vi_, n);
    const vf root = vsqrt(vi_ * c2);
    vf wi = load_n(W + i, n);
    wi -= o.lr * (mi * c1 / (root + o.eps) + o.weight_decay * wi);
    put(i, wi, n);
  });
}

}  // namespace

void adamw(Ctx&, Tensor w, Tensor copy, Tensor m, Tensor v, Tensor g, const AdamW& o) {
  if (w.dtype == DType::kBF16) {
    BF16* W = w.as<BF16>();
    const uint64_t key = o.rounding_key;
    const uint32_t first = o.first;
    adamw_of(W, m, v, g, o, [=](int64_t i, vf wi, int64_t n) {
      store_stochastic(W + i, wi, random_lanes(key, first + static_cast<uint32_t>(i)), n);
    });
    return;
  }
  float* W = w.as<float>();
  BF16* C = static_cast<BF16*>(copy.data);
  adamw_of(W, m, v, g, o, [=](int64_t i, vf wi, int64_t n) {
    store_n(W + i, wi, n);
    if (C) store_n(C + i, wi, n);
  });
}

}  // namespace puyu::cpu::PUYU_ISA
