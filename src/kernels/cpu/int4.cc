// W4A16: 4-bit weights with a scale and a zero a group of 128 along K, turned into the activations' type a panel at a
// time, in L1, just before they are multiplied.
// A chunk of a panel (panels.h has their order): per group [nr scales][nr zeros] in f32, then [pair of k][nr] bytes,
// the even k in the low half. Beyond K scales are zero.
#include <cmath>

#include "kernels/cpu/matmul.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

typedef uint8_t vb __attribute__((vector_size(16)));

// Elements of K in a chunk, and its groups (a chunk holds whole groups).
int64_t chunk_k(const Micro& m) { return kChunk * kBlock * m.per_word; }
int64_t groups_in_chunk(const Micro& m) { return chunk_k(m) / kQuantGroup; }
int64_t chunk_bytes(const Micro& m) { return groups_in_chunk(m) * 2 * m.nr * 4 + chunk_k(m) / 2 * m.nr; }
static_assert(kChunk * kBlock % kQuantGroup == 0);

struct Panel {
  float* scales;   // [groups][2][nr]
  uint8_t* bytes;  // [k / 2][nr]
};
Panel parts_of(const Micro& m, uint8_t* p) {
  return {reinterpret_cast<float*>(p), p + groups_in_chunk(m) * 2 * m.nr * 4};
}

// One 16-column strip of one group: pairs of k become two rows of f32.
PUYU_INLINE void unpack_f32(uint32_t* out, const uint8_t* bytes, const float* scale, const float* zero, int64_t nr) {
  const vf s = load(scale), z = load(zero);
  for (int64_t k = 0; k < kQuantGroup / 2; ++k, bytes += nr, out += 2 * nr) {
    vb b;
    __builtin_memcpy(&b, bytes, 16);
    const vi q = __builtin_convertvector(b, vi);
    store(reinterpret_cast<float*>(out), (__builtin_convertvector(q & 15, vf) - z) * s);
    store(reinterpret_cast<float*>(out + nr), (__builtin_convertvector(q >> 4, vf) - z) * s);
  }
}

#ifdef PUYU_ISA_avx512
constexpr int64_t kAhead = 4608;  // a panel of 32 columns
// The same into words of two bf16. 2^23 + q is q's bits under 2^23's: taking 2^23 + zero off gives q - zero, exactly.
__attribute__((target("avx512bf16"))) void unpack_bf16(uint32_t* out, const uint8_t* bytes, const float* scale,
                                                       const float* zero, int64_t nr) {
  const __m512i magic = _mm512_set1_epi32(0x4b000000), low = _mm512_set1_epi32(15);
  const __m512 s = _mm512_loadu_ps(scale), z = _mm512_add_ps(_mm512_loadu_ps(zero), _mm512_castsi512_ps(magic));
  alignas(64) static const uint16_t kWeave[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                  8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i weave = _mm512_load_si512(kWeave);
#pragma GCC unroll 4
  for (int64_t k = 0; k < kQuantGroup / 2; ++k, bytes += nr, out += nr) {
    _mm_prefetch(bytes + kAhead, _MM_HINT_T0);  // the next panel lies behind this one
    const __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    const __m512i even = _mm512_ternarylogic_epi32(b, low, magic, 0xea),
                  odd = _mm512_or_si512(_mm512_srli_epi32(b, 4), magic);
    const __m512bh pair = _mm512_cvtne2ps_pbh(_mm512_mul_ps(_mm512_sub_ps(_mm512_castsi512_ps(odd), z), s),
                                              _mm512_mul_ps(_mm512_sub_ps(_mm512_castsi512_ps(even), z), s));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(weave, (__m512i)pair));
  }
}
#else
void unpack_bf16(uint32_t*, const uint8_t*, const float*, const float*, int64_t) { __builtin_unreachable(); }
#endif

void unpack_panel(const Micro& m, uint32_t* words, const uint32_t* packed) {
  const Panel p = parts_of(m, reinterpret_cast<uint8_t*>(const_cast<uint32_t*>(packed)));
  for (int64_t g = 0; g < groups_in_chunk(m); ++g)
    for (int64_t c = 0; c < m.nr; c += 16) {
      uint32_t* out = words + g * kQuantGroup / m.per_word * m.nr + c;
      const uint8_t* bytes = p.bytes + g * kQuantGroup / 2 * m.nr + c;
      const float* scale = p.scales + g * 2 * m.nr + c;
      if (m.per_word == 2)
        unpack_bf16(out, bytes, scale, scale + m.nr, m.nr);
      else
        unpack_f32(out, bytes, scale, scale + m.nr, m.nr);
    }
}

}  // namespace

void quantize_groups(Ctx&, Tensor q, Tensor scale, Tensor zero, Tensor w) {
  const int64_t N = w.shape[0], K = w.shape[1], groups = ceil_div(K, kQuantGroup);
  auto* out = static_cast<uint8_t*>(q.data);
  auto *ss = static_cast<float*>(scale.data), *zs = static_cast<float*>(zero.data);
  with_type(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto* in = static_cast<const T*>(w.data);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < N; ++n)
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t from = g * kQuantGroup, to = imin(K, from + kQuantGroup);
        float low = 0, high = 0;
        for (int64_t k = from; k < to; ++k) {
          const float x = to_float(in[n * K + k]);
          low = x < low ? x : low, high = x > high ? x : high;
        }
        const float s = (high - low) / 15, inv = s > 0 ? 1 / s : 0, z = std::nearbyint(-low * inv);
        ss[n * groups + g] = s, zs[n * groups + g] = z;
        for (int64_t k = from; k < to; ++k) {
          const float x = std::nearbyint(to_float(in[n * K + k]) * inv) + z;
          out[n * K + k] = static_cast<uint8_t>(x < 0 ? 0 : x > 15 ? 15 : x);
        }
      }
  });
}

int64_t packed_int4_bytes(const Ctx&, int64_t N, int64_t K, DType act) {
  if (act == DType::kI8) return packed_w4a8_bytes(N, K);
  const Micro& m = micro_for(act == DType::kBF16);
  return ceil_div(K, chunk_k(m)) * ceil_div(N, m.nr) * chunk_bytes(m);
}

Tensor pack_weight_int4(Ctx&, void* dst, Tensor q, Tensor scale, Tensor zero, DType act) {
  if (act == DType::kI8) {
    pack_w4a8(dst, q, scale, zero);
    q.data = dst, q.dtype = DType::kI4, q.layout = Layout::kPackedA8;
    return q;
  }
  const Micro& m = micro_for(act == DType::kBF16);
  const int64_t N = q.shape[0], K = q.shape[1], groups = ceil_div(K, kQuantGroup), panels = ceil_div(N, m.nr);
  const auto* from = static_cast<const uint8_t*>(q.data);
  const auto *ss = static_cast<const float*>(scale.data), *zs = static_cast<const float*>(zero.data);
#pragma omp parallel for schedule(static)
  for (int64_t j = 0; j < panels; ++j)
    for (int64_t chunk = 0; chunk < m.chunks(K); ++chunk) {
      const Panel p = parts_of(m, static_cast<uint8_t*>(dst) + b_place(chunk, j, panels, m.chunks(K)) * chunk_bytes(m));
      for (int64_t c = 0; c < m.nr; ++c) {
        const int64_t n = j * m.nr + c, k0 = chunk * chunk_k(m);
        for (int64_t g = 0; g < groups_in_chunk(m); ++g) {
          const bool there = n < N && k0 + g * kQuantGroup < K;
          p.scales[g * 2 * m.nr + c] = there ? ss[n * groups + k0 / kQuantGroup + g] : 0;
          p.scales[(g * 2 + 1) * m.nr + c] = there ? zs[n * groups + k0 / kQuantGroup + g] : 0;
        }
        // What pads a group must not count: it becomes the group's zero.
        auto number = [&](int64_t k) -> int {
          if (n >= N) return 0;
          return k < K ? from[n * K + k] : static_cast<int>(zs[n * groups + imin(k / kQuantGroup, groups - 1)]);
        };
        for (int64_t k = 0; k < chunk_k(m); k += 2)
          p.bytes[k / 2 * m.nr + c] = static_cast<uint8_t>(number(k0 + k) | number(k0 + k + 1) << 4);
      }
    }
  q.data = dst;
  q.dtype = DType::kI4;
  q.layout = Layout::kPacked;
  return q;
}

void linear_int4(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0];
  const Micro& m = micro_for(x.dtype == DType::kBF16);
  matmul(ctx, {&m, pack_plain, nullptr, unpack_panel, chunk_bytes(m) / 4}, {x.data, x.dtype, K, true, M, K}, N, w.data,
         {y.data, y.dtype, N, residual.data});
}

}  // namespace puyu::cpu::PUYU_ISA
