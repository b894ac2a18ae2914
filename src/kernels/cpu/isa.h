// Vectors for the CPU kernels. vf is 16 floats in every build (GCC splits it where registers are narrower), so
// lane-wise sums add in the same order on every machine. These files are compiled once per instruction set in a
// namespace of its own; they call no std:: templates that the linker could merge across builds.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"
#ifdef PUYU_ISA_avx512
#include <immintrin.h>
#endif

namespace puyu::cpu::PUYU_ISA {

typedef float vf __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));

#define PUYU_INLINE inline __attribute__((always_inline))

// All lanes x. (Not vf{} + x: that is an addition, for the sake of -0.)
PUYU_INLINE vf splat(float x) { return vf{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
PUYU_INLINE vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, 64);
  return v;
}
PUYU_INLINE vf load(const BF16* p) {
  vh h;
  __builtin_memcpy(&h, p, 32);
  return (vf)(__builtin_convertvector(h, vu) << 16);
}
// bf16 bits of each lane, round to nearest even, NaN quieted.
PUYU_INLINE vu bf16_bits(vf v) {
  vu u = (vu)v;
  vu rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  vu nan = (u >> 16) | 64;
  return (u & 0x7fffffff) > 0x7f800000 ? nan : rounded;
}
PUYU_INLINE void store(float* p, vf v) { __builtin_memcpy(p, &v, 64); }
PUYU_INLINE void store(BF16* p, vf v) {
  vh h = __builtin_convertvector(bf16_bits(v), vh);
  __builtin_memcpy(p, &h, 32);
}
// The first n lanes (0 < n <= 16); the others read as zero.
template <class T>
PUYU_INLINE vf load_n(const T* p, int64_t n) {
  if (n >= 16) return load(p);
  T tmp[16] = {};
  __builtin_memcpy(tmp, p, sizeof(T) * static_cast<size_t>(n));
  return load(tmp);
}
template <class T>
PUYU_INLINE void store_n(T* p, vf v, int64_t n) {
  if (n >= 16) return store(p, v);
  T tmp[16];
  store(tmp, v);
  __builtin_memcpy(p, tmp, sizeof(T) * static_cast<size_t>(n));
}
// Lanes combined as a fixed tree: i with i + 8, then + 4, + 2, + 1 (what the AVX-512 reductions do too).
#ifdef PUYU_ISA_avx512
PUYU_INLINE float lane_sum(vf v) { return _mm512_reduce_add_ps((__m512)v); }
PUYU_INLINE float lane_max(vf v) { return _mm512_reduce_max_ps((__m512)v); }
PUYU_INLINE vf vsqrt(vf v) { return (vf)_mm512_sqrt_ps((__m512)v); }
PUYU_INLINE vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
PUYU_INLINE vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#else
PUYU_INLINE vf vmax(vf a, vf b) { return a > b ? a : b; }  // b if one is no number, as the instructions do
PUYU_INLINE vf vmin(vf a, vf b) { return a < b ? a : b; }
PUYU_INLINE float lane_sum(vf v) {
  float a[16];
  store(a, v);
  for (int s = 8; s > 0; s /= 2)
    for (int i = 0; i < s; ++i) a[i] += a[i + s];
  return a[0];
}
PUYU_INLINE float lane_max(vf v) {
  float a[16];
  store(a, v);
  for (int s = 8; s > 0; s /= 2)
    for (int i = 0; i < s; ++i) a[i] = a[i] > a[i + s] ? a[i] : a[i + s];
  return a[0];
}
PUYU_INLINE vf vsqrt(vf v) {
  float a[16];
  store(a, v);
  for (int i = 0; i < 16; ++i) a[i] = __builtin_sqrtf(a[i]);
  return load(a);
}
#endif
// e^x, relative error < 2e-7; below -87 exactly 0 (so masked scores vanish), above 88 capped.
PUYU_INLINE vf vexp(vf x) {
  const vf c = vmax(splat(-87.0f), vmin(splat(88.0f), x));
  vf t = c * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are round(x / ln 2)
  vi n = (vi)t - 0x4b400000;
  vf k = t - 12582912.0f;
  vf r = c - k * 0.693359375f;
  r = r + k * 2.12194440e-4f;
  vf p = splat(1.9875691500e-4f);  // Cephes expf
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  vf y = (vf)((vi)p + (n << 23));
  return x < -87.0f ? splat(0.0f) : y;
}
PUYU_INLINE int64_t imin(int64_t a, int64_t b) { return a < b ? a : b; }
PUYU_INLINE int64_t imax(int64_t a, int64_t b) { return a > b ? a : b; }
PUYU_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One T per thread from the scratch arena: large thread_locals would eat the threads' stacks.
template <class T>
PUYU_INLINE T* per_thread(Ctx& ctx, int64_t threads) {
  return static_cast<T*>(ctx.scratch->alloc(DType::kU8, {threads * static_cast<int64_t>(sizeof(T))}).data);
}

// f(float{}) or f(BF16{}).
template <class F>
PUYU_INLINE void with_type(DType t, F&& f) {
  if (t == DType::kF32)
    f(float{});
  else
    f(BF16{});
}

}  // namespace puyu::cpu::PUYU_ISA
