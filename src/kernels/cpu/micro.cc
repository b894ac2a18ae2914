// The micro-kernels. One body serves every instruction set; AMX has its own, with tiles for registers.
#include "kernels/cpu/panels.h"
#include "kernels/cpu/table.h"
#ifdef PUYU_ISA_avx512
#include <immintrin.h>
#endif

namespace puyu::cpu::PUYU_ISA {
namespace {

void nothing() {}

#if defined(PUYU_ISA_avx512)
constexpr int kBytes = 64, kMr = 12, kNv = 2;  // 24 accumulators of 32 registers
#elif defined(PUYU_ISA_avx2)
constexpr int kBytes = 32, kMr = 6, kNv = 2;  // 12 of 16
#else
constexpr int kBytes = 16, kMr = 4, kNv = 2;
#endif
typedef float nvf __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4, kNr = kNv * kLanes;
// An unaligned load that the compiler can fold into the instruction.
typedef float nvf_u __attribute__((vector_size(kBytes), aligned(4), may_alias));

PUYU_INLINE nvf nload(const void* p) { return *static_cast<const nvf_u*>(p); }
// Broadcast straight from memory: a load, which leaves the multiply ports alone.
PUYU_INLINE nvf nsplat(const float* p) {
#if defined(PUYU_ISA_avx512)
  return nvf{*p, *p, *p, *p, *p, *p, *p, *p, *p, *p, *p, *p, *p, *p, *p, *p};
#elif defined(PUYU_ISA_avx2)
  return nvf{*p, *p, *p, *p, *p, *p, *p, *p};
#else
  return nvf{*p, *p, *p, *p};
#endif
}
PUYU_INLINE void nstore(float* p, nvf v) { *reinterpret_cast<nvf_u*>(p) = v; }

template <int R>
void run_f32(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t kblocks, bool add, const Ahead&) {
  nvf acc[R][kNv];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) acc[r][v] = add ? nload(c + r * ldc + v * kLanes) : nvf{};
  const float* fa = reinterpret_cast<const float*>(a);
  for (int64_t kb = 0; kb < kblocks; ++kb, fa += kMr * kBlock)
    for (int k = 0; k < kBlock; ++k, b += kNr) {
      nvf bv[kNv];
#pragma GCC unroll 2
      for (int v = 0; v < kNv; ++v) bv[v] = nload(b + v * kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        nvf av = nsplat(fa + r * kBlock + k);
#pragma GCC unroll 2
        for (int v = 0; v < kNv; ++v) acc[r][v] += av * bv[v];
      }
    }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) nstore(c + r * ldc + v * kLanes, acc[r][v]);
}

typedef int32_t nvi __attribute__((vector_size(kBytes)));
typedef int32_t nvi_u __attribute__((vector_size(kBytes), aligned(4), may_alias));

// int8 without instructions for it: bytes widened one by one. Right everywhere, fast nowhere.
template <int R>
void run_int8(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t kblocks, bool add, const Ahead&) {
  for (int r = 0; r < R; ++r) {
    nvi acc[kNv] = {};
    for (int64_t k = 0; k < kblocks * kBlock; ++k) {
      const auto w = static_cast<int32_t>(a[(k / kBlock * kMr + r) * kBlock + k % kBlock]);
      for (int v = 0; v < kNv; ++v) {
        const nvi bv = *reinterpret_cast<const nvi_u*>(b + k * kNr + v * kLanes);
        acc[v] += (bv << 24 >> 24) * (w << 24 >> 24) + (bv << 16 >> 24) * (w << 16 >> 24) +
                  (bv << 8 >> 24) * (w << 8 >> 24) + (bv >> 24) * (w >> 24);
      }
    }
    for (int v = 0; v < kNv; ++v) {
      auto* out = reinterpret_cast<nvi_u*>(c + r * ldc + v * kLanes);
      *out = add ? *out + acc[v] : acc[v];
    }
  }
}

#ifdef PUYU_ISA_avx512
// u8 x s8, or with kSignedA s8 x u8. For s8 x s8 A's bytes are packed as a + 128, which the caller takes back with the
// columns' sums.
template <int R, bool kSignedA>
__attribute__((target("avx512vnni"))) void run_vnni(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b,
                                                    int64_t kblocks, bool add, const Ahead& from) {
  Ahead ahead = from;
  __m512i acc[R][kNv];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) acc[r][v] = add ? _mm512_loadu_si512(c + r * ldc + v * 16) : _mm512_setzero_si512();
  for (int64_t kb = 0; kb < kblocks; ++kb, a += kMr * kBlock)
#pragma GCC unroll 1
    for (int k = 0; k < kBlock; ++k, b += kNr) {
      ahead.next();
      __m512i bv[kNv];
#pragma GCC unroll 2
      for (int v = 0; v < kNv; ++v) bv[v] = _mm512_loadu_si512(b + v * 16);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        __m512i av = _mm512_set1_epi32(static_cast<int>(a[r * kBlock + k]));
#pragma GCC unroll 2
        for (int v = 0; v < kNv; ++v)
          acc[r][v] = kSignedA ? _mm512_dpbusd_epi32(acc[r][v], bv[v], av) : _mm512_dpbusd_epi32(acc[r][v], av, bv[v]);
      }
    }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) _mm512_storeu_si512(c + r * ldc + v * 16, acc[r][v]);
}
template <int R>
__attribute__((target("avx512bf16"))) void run_bf16(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b,
                                                    int64_t kblocks, bool add, const Ahead& from) {
  Ahead ahead = from;
  __m512 acc[R][kNv];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) acc[r][v] = add ? _mm512_loadu_ps(c + r * ldc + v * 16) : _mm512_setzero_ps();
  for (int64_t kb = 0; kb < kblocks; ++kb, a += kMr * kBlock)
#pragma GCC unroll 1
    for (int k = 0; k < kBlock; ++k, b += kNr) {
      ahead.next();
      __m512bh bv[kNv];
#pragma GCC unroll 2
      for (int v = 0; v < kNv; ++v) bv[v] = (__m512bh)_mm512_loadu_si512(b + v * 16);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        __m512bh av = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[r * kBlock + k]));
#pragma GCC unroll 2
        for (int v = 0; v < kNv; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], av, bv[v]);
      }
    }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) _mm512_storeu_ps(c + r * ldc + v * 16, acc[r][v]);
}

// AMX: C is 2 x 2 tiles of 16 x 16; a tile is 16 rows of 64 bytes.
struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t column_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
__attribute__((target("amx-tile"))) void begin_amx() {
  static const TileConfig config;
  _tile_loadconfig(&config);
}
// kRows 32 or 16. Words of two bf16, or of four int8 with kInt8.
template <int kRows, bool kInt8>
__attribute__((target("amx-tile,amx-bf16,amx-int8"))) void run_amx(float* c, int64_t ldc, const uint32_t* a,
                                                                   const uint32_t* b, int64_t kblocks, bool add,
                                                                   const Ahead&) {
  constexpr bool kBoth = kRows == 32;
  const int64_t row = ldc * 4;
  float* lower = c + 16 * ldc;
  if (add) {
    _tile_loadd(0, c, row);
    _tile_loadd(1, c + 16, row);
    if constexpr (kBoth) _tile_loadd(2, lower, row);
    if constexpr (kBoth) _tile_loadd(3, lower + 16, row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t kb = 0; kb < kblocks; ++kb, a += 32 * kBlock, b += kBlock * 32) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 128);
    _tile_loadd(7, b + 16, 128);
    if constexpr (kInt8) {
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 4, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (!kBoth) continue;
    _tile_loadd(5, a + 16 * kBlock, 64);
    if constexpr (kInt8) {
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, row);
  _tile_stored(1, c + 16, row);
  if constexpr (kBoth) _tile_stored(2, lower, row);
  if constexpr (kBoth) _tile_stored(3, lower + 16, row);
}
template <int R>
constexpr Micro::Run kVnniOf = run_vnni<R, false>;
template <int R>
constexpr Micro::Run kVnniSignedOf = run_vnni<R, true>;
#define PUYU_ROWS(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>, f<7>, f<8>, f<9>, f<10>, f<11>, f<12>}
const Micro::Run kRunBf16[kMr] = PUYU_ROWS(run_bf16), kRunVnni[kMr] = PUYU_ROWS(kVnniOf),
                 kRunVnniSigned[kMr] = PUYU_ROWS(kVnniSignedOf), kRunF32[kMr] = PUYU_ROWS(run_f32),
                 kRunInt8[kMr] = PUYU_ROWS(run_int8);
// Half the tiles for 16 rows or fewer.
template <bool kInt8>
struct AmxRuns {
  Micro::Run run[32];
  constexpr AmxRuns() : run() {
    for (int r = 0; r < 32; ++r) run[r] = r < 16 ? run_amx<16, kInt8> : run_amx<32, kInt8>;
  }
};
constexpr AmxRuns<false> kRunAmx;
constexpr AmxRuns<true> kRunAmxInt8;
const Micro kBf16 = {kMr, kNr, 2, kRunBf16, nothing};
const Micro kAmx = {32, 32, 2, kRunAmx.run, begin_amx, 0, 16};
const Micro kVnni = {kMr, kNr, 4, kRunVnni, nothing, 128};
const Micro kVnniSigned = {kMr, kNr, 4, kRunVnniSigned, nothing};
const Micro kAmxInt8 = {32, 32, 4, kRunAmxInt8.run, begin_amx, 0, 16};
#elif defined(PUYU_ISA_avx2)
#define PUYU_ROWS(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>}
const Micro::Run kRunF32[kMr] = PUYU_ROWS(run_f32), kRunInt8[kMr] = PUYU_ROWS(run_int8);
#else
#define PUYU_ROWS(f) {f<1>, f<2>, f<3>, f<4>}
const Micro::Run kRunF32[kMr] = PUYU_ROWS(run_f32), kRunInt8[kMr] = PUYU_ROWS(run_int8);
#endif
#undef PUYU_ROWS
const Micro kF32 = {kMr, kNr, 1, kRunF32, nothing};
const Micro kInt8 = {kMr, kNr, 4, kRunInt8, nothing};

}  // namespace

const Micro& micro_for([[maybe_unused]] bool bf16) {
#ifdef PUYU_ISA_avx512
  if (bf16 && features().amx_bf16) return kAmx;
  if (bf16 && features().avx512_bf16) return kBf16;
#endif
  return kF32;
}
#ifdef PUYU_ISA_avx512
const Micro& micro_int8_uint8() { return kVnniSigned; }
#endif
const Micro& micro_int8() {
#ifdef PUYU_ISA_avx512
  if (features().amx_int8) return kAmxInt8;
  if (features().avx512_vnni) return kVnni;
#endif
  return kInt8;
}

}  // namespace puyu::cpu::PUYU_ISA
