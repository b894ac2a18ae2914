#include <algorithm>

#include "data/minhash.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace puyu {
namespace {

void minima_plain(const uint32_t* a, const uint32_t* b, const uint32_t* x, size_t n, uint32_t* out) {
  for (size_t i = 0; i < n; ++i)
    for (int p = 0; p < kPermutations; ++p) out[p] = std::min(out[p], a[p] * x[i] + b[p]);
}

#if defined(__x86_64__)
// 32 functions at a time: their minima stay in registers while the shingles pass.
__attribute__((target("avx2"))) void minima_avx2(const uint32_t* a, const uint32_t* b, const uint32_t* x, size_t n,
                                                 uint32_t* out) {
  for (int p = 0; p < kPermutations; p += 32) {
    __m256i low[4], mul[4], add[4];
    for (int k = 0; k < 4; ++k) {
      low[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(out + p + 8 * k));
      mul[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + p + 8 * k));
      add[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + p + 8 * k));
    }
    for (size_t i = 0; i < n; ++i) {
      const __m256i v = _mm256_set1_epi32(static_cast<int>(x[i]));
      for (int k = 0; k < 4; ++k)
        low[k] = _mm256_min_epu32(low[k], _mm256_add_epi32(_mm256_mullo_epi32(mul[k], v), add[k]));
    }
    for (int k = 0; k < 4; ++k) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + p + 8 * k), low[k]);
  }
}

// All 128 minima, factors and summands fill 24 of the 32 registers.
__attribute__((target("avx512f"))) void minima_avx512(const uint32_t* a, const uint32_t* b, const uint32_t* x, size_t n,
                                                      uint32_t* out) {
  __m512i low[8], mul[8], add[8];
  for (int k = 0; k < 8; ++k) {
    low[k] = _mm512_loadu_si512(out + 16 * k);
    mul[k] = _mm512_loadu_si512(a + 16 * k);
    add[k] = _mm512_loadu_si512(b + 16 * k);
  }
  for (size_t i = 0; i < n; ++i) {
    const __m512i v = _mm512_set1_epi32(static_cast<int>(x[i]));
    for (int k = 0; k < 8; ++k)
      low[k] = _mm512_min_epu32(low[k], _mm512_add_epi32(_mm512_mullo_epi32(mul[k], v), add[k]));
  }
  for (int k = 0; k < 8; ++k) _mm512_storeu_si512(out + 16 * k, low[k]);
}
#endif

}  // namespace

std::vector<MinimaVariant> minima_variants() {
  std::vector<MinimaVariant> out = {{"plain", minima_plain}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) out.push_back({"avx2", minima_avx2});
  if (__builtin_cpu_supports("avx512f")) out.push_back({"avx512", minima_avx512});
#endif
  return out;
}

}  // namespace puyu
