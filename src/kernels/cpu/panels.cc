#include "kernels/cpu/panels.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

// 16 x 16 words, a row a register.
typedef vu Words[16];

#ifdef PUYU_ISA_avx512
template <int S>  // one step of the transpose: swaps the off-diagonal S x S quarters of every 2S x 2S square
PUYU_INLINE void swap_quarters(Words& r) {
  vi lo, hi;
  for (int i = 0; i < 16; ++i) {
    bool upper = i & S;
    lo[i] = upper ? 16 + (i - S) : i;
    hi[i] = upper ? 16 + i : i + S;
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    if (i & S) continue;
    vu a = r[i], b = r[i + S];
    r[i] = __builtin_shuffle(a, b, (vu)lo);
    r[i + S] = __builtin_shuffle(a, b, (vu)hi);
  }
}
PUYU_INLINE void transpose(Words& r) {
  swap_quarters<8>(r);
  swap_quarters<4>(r);
  swap_quarters<2>(r);
  swap_quarters<1>(r);
}
#else
PUYU_INLINE void transpose(Words& r) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < i; ++j) {
      uint32_t t = r[i][j];
      r[i][j] = r[j][i];
      r[j][i] = t;
    }
}
#endif

// 32 numbers as bf16, those of `low` first. Words of pairs are only made for machines that multiply them, and those
// round to bf16 too (unlike bf16_bits they take numbers below 2^-126 for 0).
PUYU_INLINE vu to_bf16(vf low, vf high) {
  vu w;
#ifdef PUYU_ISA_avx512
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(w) : "v"(high), "v"(low));
#else
  BF16 both[32];
  store(both, low), store(both + 16, high);
  __builtin_memcpy(&w, both, 64);
#endif
  return w;
}
// 16 words of row `p`, contiguous along K.
PUYU_INLINE vu words_along_k(const float* p, bool pairs) {
  return pairs ? to_bf16(load(p), load(p + 16)) : (vu)load(p);
}
PUYU_INLINE vu words_along_k(const BF16* p, bool pairs) {
  if (!pairs) return (vu)load(p);
  vu w;
  __builtin_memcpy(&w, p, 64);
  return w;
}
PUYU_INLINE vu words_along_k(const int8_t* p, bool) {
  vu w;
  __builtin_memcpy(&w, p, 64);
  return w;
}
// 16 words across the outer dimension; with pairs the second of each comes from `q`, the next k.
typedef uint16_t vw __attribute__((vector_size(64)));
PUYU_INLINE vu woven(vu both) {  // lane i: half i, and half 16 + i above it
  const vw order = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (vu)__builtin_shuffle((vw)both, order);
}
PUYU_INLINE vu words_across(const float* p, const float* q, bool pairs) {
  return pairs ? woven(to_bf16(load(p), load(q))) : (vu)load(p);
}
PUYU_INLINE vu words_across(const BF16* p, const BF16* q, bool pairs) {
  if (!pairs) return (vu)load(p);
  vu both;
  __builtin_memcpy(&both, p, 32), __builtin_memcpy(reinterpret_cast<char*>(&both) + 32, q, 32);
  return woven(both);
}

// The words of a block that begins at p: 16 of the outer index by 16 of K, in the order they lie in.
template <class T>
PUYU_INLINE void load_words(Words& w, const T* p, int64_t ld, bool pairs, bool k_contiguous) {
  if (k_contiguous) {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) w[r] = words_along_k(p + r * ld, pairs);
  } else if constexpr (sizeof(T) == 1) {
    __builtin_unreachable();
  } else {
    const int64_t step = pairs ? 2 * ld : ld;
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) w[r] = words_across(p + r * step, p + r * step + ld, pairs);
  }
}

// The 16 x 16 words at outer index i0 and element k0, rows along the outer index if `by_outer`, else along K.
template <class T>
PUYU_INLINE void load_block(Words& w, const Operand& o, int64_t i0, int64_t k0, int per_word, bool by_outer) {
  const bool pairs = per_word == 2;
  const int64_t kn = 16 * per_word, ni = imin(16, o.outer - i0), nk = imin(kn, o.k - k0);
  const int64_t rows = o.k_contiguous ? ni : nk, cols = o.k_contiguous ? nk : ni;
  const int64_t all_rows = o.k_contiguous ? 16 : kn, all_cols = o.k_contiguous ? kn : 16;
  const T* p = static_cast<const T*>(o.p) + (o.k_contiguous ? i0 * o.ld + k0 : k0 * o.ld + i0);
  if (rows == all_rows && cols == all_cols) {
    // The rows of the next blocks lie far apart where K is not contiguous: no prefetcher would see them coming.
    const int64_t next = o.k_contiguous ? 4 * kn : kn * o.ld;
    for (int64_t r = 0; r < rows; ++r) __builtin_prefetch(p + r * o.ld + next);
    load_words(w, p, o.ld, pairs, o.k_contiguous);
  } else {  // at the border: what is there, among zeros
    T edge[32 * 64] = {};
    for (int64_t r = 0; r < rows; ++r)
      __builtin_memcpy(edge + r * all_cols, p + r * o.ld, sizeof(T) * static_cast<size_t>(cols));
    load_words(w, edge, all_cols, pairs, o.k_contiguous);
  }
  if (o.k_contiguous != by_outer) transpose(w);
}

PUYU_INLINE void copy_words(uint32_t* out, vu w) { __builtin_memcpy(out, &w, 64); }

// Rows that are contiguous along K: copied, row by row of each block.
template <class T>
void pack_a_rows(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t panels) {
  const int64_t step = kBlock * m.per_word, i0 = panel * o.rows(m), rows = imin(o.rows(m), o.outer - i0);
  const T* src = static_cast<const T*>(o.p) + i0 * o.ld;
  const bool pairs = m.per_word == 2;
  for (int64_t kb = 0; kb < m.blocks(o.k); ++kb) {
    uint32_t* out = dst + (kb / kChunk * panels + panel) * m.a_chunk() + kb % kChunk * m.mr * kBlock;
    const int64_t k0 = kb * step, nk = o.k - k0;
    if (nk >= step) {
      for (int64_t r = 0; r < rows; ++r) copy_words(out + r * kBlock, words_along_k(src + r * o.ld + k0, pairs));
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        T edge[64] = {};
        __builtin_memcpy(edge, src + r * o.ld + k0, sizeof(T) * static_cast<size_t>(nk));
        copy_words(out + r * kBlock, words_along_k(edge, pairs));
      }
    }
    const int64_t used = ceil_div(rows, m.row_step) * m.row_step;  // rows that the micro-kernel will look at
    __builtin_memset(out + rows * kBlock, 0, static_cast<size_t>(used - rows) * 64);
  }
}

// Rows across K, a block of K for all panels before the next: they share its cache lines.
template <class T>
void pack_a_across(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels) {
  const int64_t step = 16 * m.per_word;
  Words w;
  for (int64_t kb = 0; kb < m.blocks(o.k); ++kb)
    for (int64_t panel = first; panel < last; ++panel)
      for (int64_t r0 = 0; r0 < m.mr; r0 += 16) {
        const int64_t i0 = panel * o.rows(m) + r0, rows = imin(16, m.mr - r0);
        uint32_t* out = dst + (kb / kChunk * panels + panel) * m.a_chunk() + (kb % kChunk * m.mr + r0) * kBlock;
        if (i0 >= o.outer) {
          __builtin_memset(out, 0, static_cast<size_t>(rows) * 64);
          continue;
        }
        load_block<T>(w, o, i0, kb * step, m.per_word, true);
        for (int64_t r = 0; r < rows; ++r) copy_words(out + r * kBlock, w[r]);
      }
}

template <class T>
void pack_a_typed(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels) {
  if (!o.k_contiguous) return pack_a_across<T>(m, dst, o, first, last, panels);
  for (int64_t panel = first; panel < last; ++panel) pack_a_rows<T>(m, dst, o, panel, panels);
}

template <class T>
void pack_b_typed(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t panels) {
  const int64_t step = 16 * m.per_word;
  Words w;
  for (int64_t kb = 0; kb < m.blocks(o.k); ++kb)
    for (int64_t c0 = 0; c0 < m.nr; c0 += 16) {
      const int64_t i0 = panel * m.nr + c0;
      const auto bytes = static_cast<size_t>(imin(16, m.nr - c0)) * 4;
      uint32_t* out =
          dst + b_place(kb / kChunk, panel, panels, m.chunks(o.k)) * m.b_chunk() + kb % kChunk * kBlock * m.nr + c0;
      if (i0 >= o.outer) {
        for (int r = 0; r < 16; ++r) __builtin_memset(out + r * m.nr, 0, bytes);
        continue;
      }
      load_block<T>(w, o, i0, kb * step, m.per_word, false);
      if (bytes == 64)
        for (int r = 0; r < 16; ++r) copy_words(out + r * m.nr, w[r]);
      else
        for (int r = 0; r < 16; ++r) __builtin_memcpy(out + r * m.nr, &w[r], bytes);
    }
}

}  // namespace

void pack_a(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels) {
  if (o.type == DType::kF32)
    pack_a_typed<float>(m, dst, o, first, last, panels);
  else
    pack_a_typed<BF16>(m, dst, o, first, last, panels);
}
void pack_b(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t panels) {
  if (o.type == DType::kI8)
    pack_b_typed<int8_t>(m, dst, o, panel, panels);
  else if (o.type == DType::kF32)
    pack_b_typed<float>(m, dst, o, panel, panels);
  else
    pack_b_typed<BF16>(m, dst, o, panel, panels);
}

}  // namespace puyu::cpu::PUYU_ISA
