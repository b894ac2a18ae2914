// Matrix products in three steps: pack A, pack B, multiply. Packed data is in 32-bit words: one f32, or two bf16
// neighbours along K, or four int8. Words come in blocks of 16 along K; A panels are [k block][mr rows][16 words], B
// panels [k word][nr columns]. A micro-kernel multiplies one A panel by one B panel into an mr x nr f32 tile, adding
// products in the order of K whatever the blocking, so a row's bits depend on that row alone. Attention uses the same
// parts. A is packed as [chunk of kChunk blocks][panel][block]: what one pass over a chunk reads lies together, at no
// power-of-two distance that would crowd a few cache sets. B is packed as [kTogether panels][chunk][panel][block]: few
// rows of A, which wait for memory, read it from end to end.
#pragma once
#include "kernels/cpu/isa.h"

namespace puyu::cpu::PUYU_ISA {

inline constexpr int64_t kBlock = 16;  // words
inline constexpr int64_t kChunk = 8;   // blocks; an A and a B panel of one chunk fit L1
inline constexpr int64_t kMaxMr = 32, kMaxNr = 32;
inline constexpr int64_t kTogether = 4;  // panels of B: their chunks are 64 KiB of f32, no more than one way of an L2

// Where a chunk of a panel of B begins, counted in chunks.
PUYU_INLINE int64_t b_place(int64_t chunk, int64_t panel, int64_t panels, int64_t chunks) {
  const int64_t first = panel / kTogether * kTogether;
  return first * chunks + chunk * imin(kTogether, panels - first) + panel - first;
}

// What a kernel asks memory for while it computes: two cache lines a word of K.
struct Ahead {
  const char *first, *second;
  int64_t step;
  PUYU_INLINE void next() {
    __builtin_prefetch(first), __builtin_prefetch(second);
    first += step, second += step;
  }
};

// Lines that are in the cache already.
PUYU_INLINE Ahead nothing_ahead(const void* here) {
  return {static_cast<const char*>(here), static_cast<const char*>(here), 0};
}

struct Micro {
  int mr, nr;
  int per_word;  // elements in a word: 1 f32, 2 bf16, 4 int8
  // c [mr x nr, row stride ldc] = or += a * b over kblocks blocks of K; for int8 c holds int32.
  using Run = void (*)(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t kblocks, bool add,
                       const Ahead& ahead);
  const Run* run;        // [mr]: run[r - 1] computes the panel's first r rows, each the same bits as in run[mr - 1]
  void (*begin)();       // once per thread before run (AMX tile shapes)
  int offset = 0;        // what A's elements are packed with on top (int8 by way of uint8)
  int row_step = 1;      // a panel's rows cost the same up to the next multiple
  int a_words = kBlock;  // words of a block and row of A, and of a block and column of B: more or less than kBlock
  int b_words = kBlock;  // where scales stand among the numbers or two numbers share a byte (w4a8.cc)

  int64_t blocks(int64_t k) const { return ceil_div(k, per_word * kBlock); }
  int64_t chunks(int64_t k) const { return ceil_div(blocks(k), kChunk); }
  // Sizes in words. A chunk of one panel, and a whole operand of `panels` panels.
  int64_t a_chunk() const { return kChunk * a_words * mr; }
  int64_t b_chunk() const { return kChunk * b_words * nr; }
  int64_t a_size(int64_t k, int64_t panels) const { return chunks(k) * panels * a_chunk(); }
  int64_t b_size(int64_t k, int64_t panels) const { return chunks(k) * panels * b_chunk(); }
};
// The best micro-kernel for operands of this type: bf16 pairs where the machine multiplies them, else f32.
const Micro& micro_for(bool bf16);
const Micro& micro_int8();
#ifdef PUYU_ISA_avx512
const Micro& micro_int8_uint8();  // A int8, B uint8; for machines with VNNI
#endif

// A matrix to be packed (int8: as B, and k_contiguous only), `outer` rows (of A) or columns (of B) by k. k_contiguous:
// element (i, k) at p[i * ld + k], else at p[k * ld + i].
struct Operand {
  const void* p;
  DType type;
  int64_t ld;
  bool k_contiguous;
  int64_t outer, k;
  int64_t panel_rows = 0;  // of A, in each panel but the last; 0: as many as it holds
  int64_t rows(const Micro& m) const { return panel_rows ? panel_rows : m.mr; }
};
// Packs panels [first, last), or panel number `panel`, of `panels` of the operand into the packed matrix at dst;
// elements outside are zero.
void pack_a(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels);
void pack_b(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t panels);

}  // namespace puyu::cpu::PUYU_ISA
