// W4A8: the 4-bit weights of int4.cc multiplied as integers. Activations are quantised to int8 by row and group of 128
// along K as they are packed (finer than W8A8's row), so that y = sum over groups of ws xs (sum q x - zero sum x): the
// sums in parentheses are exact integers, the groups add up in f32 in their order.
//
// A group of a packed A panel: [mr scales f32][mr sums of x, negated, i32][2 halves][mr][16 words].
// A group of a packed B panel: [nr scales f32][nr zeros i32][16][nr] words of 8 numbers: four of the group's first half
// in the low halves of the bytes, four of its second half in the high halves.
#include <cmath>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/table.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

constexpr int64_t kGroupBlocks = kQuantGroup / (4 * kBlock);
constexpr int64_t kGroups = kChunk / kGroupBlocks;  // of a chunk
static_assert(kGroupBlocks == 2 && kChunk % kGroupBlocks == 0);
constexpr int kAWords = 17, kBWords = 9;  // a block, row or column

void nothing() {}

// Any machine: row r of one group, the numbers of a word one after another.
void run_row(float* c, const uint32_t* a, int64_t r, int64_t mr, const uint32_t* b, bool add) {
  constexpr int64_t nr = 32;
  for (int64_t n = 0; n < nr; n += 16) {
    vi acc;
    __builtin_memcpy(&acc, b + nr + n, 64);  // the zeros
    acc *= static_cast<int32_t>(a[mr + r]);
    for (int64_t w = 0; w < 2 * kBlock; ++w) {
      vi q;
      __builtin_memcpy(&q, b + (2 + w % kBlock) * nr + n, 64);
      q = w < kBlock ? q : q >> 4;
      const auto x = static_cast<int32_t>(a[2 * mr + (w / kBlock * mr + r) * kBlock + w % kBlock]);
      acc += (q & 15) * (x << 24 >> 24) + (q >> 8 & 15) * (x << 16 >> 24) + (q >> 16 & 15) * (x << 8 >> 24) +
             (q >> 24 & 15) * (x >> 24);
    }
    const vf scale = load(reinterpret_cast<const float*>(b) + n) * reinterpret_cast<const float*>(a)[r];
    store(c + n, (add ? load(c + n) : vf{}) + __builtin_convertvector(acc, vf) * scale);
  }
}

#ifdef PUYU_ISA_avx512
// Few rows take the numbers out of their bytes as they multiply; more rows (up to 12, again and again) find them as
// words of 4 numbers, unpacked once. Sums of integers are the same either way.
constexpr int kNr = 32, kFewRows = 8, kManyRows = 12;
constexpr int kUnpackedWords = 17;  // of B: a block and column

// c (+)= scales * (sums - zero * sum of x) for one group. A zero is below 16 and a sum of x within 16 bits: products of
// 16-bit words.
template <int R, int kMr>
PUYU_INLINE __attribute__((target("avx512vnni"))) void add_group(float* c, int64_t ldc, const int32_t* sums,
                                                                 const uint32_t* a, const uint32_t* b, bool add) {
  const float *xs = reinterpret_cast<const float*>(a), *ws = reinterpret_cast<const float*>(b);
  const __m512i zero[2] = {_mm512_loadu_si512(b + kNr), _mm512_loadu_si512(b + kNr + 16)};
  const __m512 scale[2] = {_mm512_loadu_ps(ws), _mm512_loadu_ps(ws + 16)};
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m512i sum = _mm512_set1_epi32(static_cast<int>(a[kMr + r]));
    const __m512 x = _mm512_set1_ps(xs[r]);
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      float* out = c + r * ldc + 16 * v;
      const __m512i all = _mm512_dpwssd_epi32(_mm512_loadu_si512(sums + r * kNr + 16 * v), zero[v], sum);
      const __m512 before = add ? _mm512_loadu_ps(out) : _mm512_setzero_ps();
      _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), _mm512_mul_ps(scale[v], x), before));
    }
  }
}
// sums [R][nr] = q x over one group; B's two halves of numbers stand in the halves of the same bytes.
template <int R>
__attribute__((target("avx512vnni"))) void sum_nibbles(int32_t* sums, const uint32_t* a, const uint32_t* b,
                                                       Ahead ahead) {
  const __m512i low = _mm512_set1_epi8(15);
  constexpr int kSets = R <= 4 ? 2 : 1;  // of accumulators: more additions under way at once
  __m512i acc[kSets][R][2];
#pragma GCC unroll 2
  for (int s = 0; s < kSets; ++s)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc[s][r][0] = acc[s][r][1] = _mm512_setzero_si512();
  for (const uint32_t* end = b + kBlock * kNr; b < end; b += kNr, ++a) {
    ahead.next();
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m512i q[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        q[v] = _mm512_loadu_si512(b + 16 * v);
        q[v] = _mm512_and_si512(half ? _mm512_srli_epi16(q[v], 4) : q[v], low);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m512i x = _mm512_set1_epi32(static_cast<int>(a[(half * kFewRows + r) * kBlock]));
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) acc[half % kSets][r][v] = _mm512_dpbusd_epi32(acc[half % kSets][r][v], q[v], x);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v)
      _mm512_storeu_si512(sums + r * kNr + 16 * v,
                          kSets == 2 ? _mm512_add_epi32(acc[0][r][v], acc[kSets - 1][r][v]) : acc[0][r][v]);
}
template <int R>
__attribute__((target("avx512vnni"))) void run_few(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b,
                                                   int64_t kblocks, bool add, const Ahead& from) {
  Ahead ahead = from;
  alignas(64) int32_t sums[R * kNr];
  for (int64_t g = 0; g < ceil_div(kblocks, kGroupBlocks); ++g) {
    sum_nibbles<R>(sums, a + 2 * kFewRows, b + 2 * kNr, ahead);
    add_group<R, kFewRows>(c, ldc, sums, a, b, add || g > 0);
    ahead.first += ahead.step * kBlock, ahead.second += ahead.step * kBlock;
    ahead.next(), ahead.next();  // a group is its numbers and as many lines more, for scales and zeros
    a += kGroupBlocks * kAWords * kFewRows, b += kGroupBlocks * kBWords * kNr;
  }
}
template <int R>
__attribute__((target("avx512vnni"))) void run_many(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b,
                                                    int64_t kblocks, bool add, const Ahead& from) {
  Ahead ahead = from;
  alignas(64) int32_t sums[R * kNr];
  const Micro::Run run = micro_int8_uint8().run[R - 1];
  for (int64_t g = 0; g < ceil_div(kblocks, kGroupBlocks); ++g) {
    run(reinterpret_cast<float*>(sums), kNr, a + 2 * kManyRows, b + 2 * kNr, kGroupBlocks, false, ahead);
    add_group<R, kManyRows>(c, ldc, sums, a, b, add || g > 0);
    ahead.first += ahead.step * kGroupBlocks * kBlock, ahead.second += ahead.step * kGroupBlocks * kBlock;
    a += kGroupBlocks * kAWords * kManyRows, b += kGroupBlocks * kUnpackedWords * kNr;
  }
}
// One panel's chunk into words: per group scales and zeros as they are, then [32][nr] words of 4 numbers.
void unpack_panel(const Micro&, uint32_t* words, const uint32_t* from) {
  for (int64_t g = 0; g < kGroups; ++g, words += kGroupBlocks * kUnpackedWords * kNr) {
    __builtin_memcpy(words, from, 2 * kNr * 4);
    uint32_t* to = words + 2 * kNr;
    from += 2 * kNr;
    for (int64_t i = 0; i < kBlock * kNr; i += 16, from += 16) {
      vu both;
      __builtin_memcpy(&both, from, 64);
      const vu first = both & 0x0f0f0f0f, second = (both >> 4) & 0x0f0f0f0f;
      __builtin_memcpy(to + i, &first, 64);
      __builtin_memcpy(to + kBlock * kNr + i, &second, 64);
    }
  }
}
const Micro::Run kRunFew[kFewRows] = {run_few<1>, run_few<2>, run_few<3>, run_few<4>,
                                      run_few<5>, run_few<6>, run_few<7>, run_few<8>};
const Micro::Run kRunMany[kManyRows] = {run_many<1>, run_many<2>,  run_many<3>,  run_many<4>,
                                        run_many<5>, run_many<6>,  run_many<7>,  run_many<8>,
                                        run_many<9>, run_many<10>, run_many<11>, run_many<12>};
const Micro kFew = {kFewRows, kNr, 4, kRunFew, nothing, 0, 1, kAWords, kBWords};
const Micro kMany = {kManyRows, kNr, 4, kRunMany, nothing, 0, 1, kAWords, kUnpackedWords};
#endif

constexpr int kPlainMr = 4;
template <int R>
void run_plain(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t kblocks, bool add, const Ahead&) {
  for (int64_t g = 0; g < ceil_div(kblocks, kGroupBlocks); ++g)
    for (int64_t r = 0; r < R; ++r) {
      const uint32_t* group = a + g * kGroupBlocks * kAWords * kPlainMr;
      run_row(c + r * ldc, group, r, kPlainMr, b + g * kGroupBlocks * kBWords * 32, add || g > 0);
    }
}
const Micro::Run kRunPlain[kPlainMr] = {run_plain<1>, run_plain<2>, run_plain<3>, run_plain<4>};
const Micro kPlain = {kPlainMr, 32, 4, kRunPlain, nothing, 0, 1, kAWords, kBWords};

// One group of one row: 128 numbers, their scale, minus their sum.
template <class T>
PUYU_INLINE void quantize_group(uint32_t* half, int64_t mr, float* scale, uint32_t* sum, const T* x, int64_t n) {
  typedef int8_t vc __attribute__((vector_size(16)));
  vf v[8], most{};
  for (int64_t i = 0; i < 8; ++i) {
    v[i] = 16 * i < n ? load_n(x + 16 * i, n - 16 * i) : vf{};
    most = vmax(most, v[i] > 0 ? v[i] : -v[i]);
  }
  const float max = lane_max(most), inv = max > 0 ? 127 / max : 0;
  vi total{};
  for (int64_t i = 0; i < 8; ++i) {
    const vi q = (vi)(v[i] * inv + 12582912.0f) - 0x4b400000;  // 1.5 * 2^23 + x: the low bits are x rounded
    const vc bytes = __builtin_convertvector(q, vc);
    __builtin_memcpy(half + i / 4 * mr * kBlock + i % 4 * 4, &bytes, 16);
    total += q;
  }
  int32_t all = 0;
  for (int i = 0; i < 16; ++i) all += total[i];
  *scale = max / 127, *sum = static_cast<uint32_t>(-all);
}

void pack_quantized(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t, int64_t panels, float*) {
  const int64_t i0 = panel * o.rows(m), rows = imin(o.rows(m), o.outer - i0);
  with_type(o.type, [&](auto tag) {
    using T = decltype(tag);
    for (int64_t g = 0; g < ceil_div(o.k, kQuantGroup); ++g) {
      uint32_t* group =
          dst + (g / kGroups * panels + panel) * m.a_chunk() + g % kGroups * kGroupBlocks * kAWords * m.mr;
      for (int64_t r = 0; r < rows; ++r)
        quantize_group(group + 2 * m.mr + r * kBlock, m.mr, reinterpret_cast<float*>(group) + r, group + m.mr + r,
                       static_cast<const T*>(o.p) + (i0 + r) * o.ld + g * kQuantGroup, o.k - g * kQuantGroup);
    }
  });
}

// For M rows; what is packed for one serves the others.
Form form_for([[maybe_unused]] int64_t M) {
#ifdef PUYU_ISA_avx512
  if (features().avx512_vnni && M <= 2 * kFewRows) return {&kFew, pack_quantized};
  if (features().avx512_vnni) return {&kMany, pack_quantized, nullptr, unpack_panel, kChunk * kBWords * kNr};
#endif
  return {&kPlain, pack_quantized};
}

}  // namespace

int64_t packed_w4a8_bytes(int64_t N, int64_t K) {
  const Micro& m = *form_for(1).micro;
  return m.b_size(K, ceil_div(N, m.nr)) * 4;
}

void pack_w4a8(void* dst, Tensor q, Tensor scale, Tensor zero) {
  const Micro& m = *form_for(1).micro;
  const int64_t N = q.shape[0], K = q.shape[1], groups = ceil_div(K, kQuantGroup), panels = ceil_div(N, m.nr);
  const auto* from = static_cast<const uint8_t*>(q.data);
  const auto *ss = static_cast<const float*>(scale.data), *zs = static_cast<const float*>(zero.data);
#pragma omp parallel for schedule(static)
  for (int64_t j = 0; j < panels; ++j)
    for (int64_t g = 0; g < groups; ++g) {
      uint32_t* group = static_cast<uint32_t*>(dst) + b_place(g / kGroups, j, panels, m.chunks(K)) * m.b_chunk() +
                        g % kGroups * kGroupBlocks * kBWords * m.nr;
      for (int64_t c = 0; c < m.nr; ++c) {
        const int64_t n = j * m.nr + c;
        const float s = n < N ? ss[n * groups + g] : 0;
        __builtin_memcpy(group + c, &s, 4);
        group[m.nr + c] = n < N ? static_cast<uint32_t>(zs[n * groups + g]) : 0;
        // Beyond K the activations are 0, so any number will do.
        auto number = [&](int64_t k) -> uint32_t { return n < N && k < K ? from[n * K + k] : 0; };
        for (int64_t w = 0; w < kBlock; ++w) {
          uint32_t word = 0;
          for (int64_t i = 0; i < 4; ++i) {
            const int64_t k = g * kQuantGroup + 4 * w + i;
            word |= (number(k) | number(k + kQuantGroup / 2) << 4) << 8 * i;
          }
          group[(2 + w) * m.nr + c] = word;
        }
      }
    }
}

void linear_w4a8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0];
  matmul(ctx, form_for(M), {x.data, x.dtype, K, true, M, K}, N, w.data, {y.data, y.dtype, N, residual.data});
}

}  // namespace puyu::cpu::PUYU_ISA
