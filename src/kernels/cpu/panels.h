// Matrix products in three steps: pack A, pack B, multiply. Packed data is in 32-bit words: one f32, or two bf16
// neighbours along K, or four int8. Words come in blocks of 16 along K; A panels are [k block][mr rows][16 words], B
// panels [k word][nr columns]. A micro-kernel multiplies one A panel by one B panel into an mr x nr f32 tile, adding
// products in the order of K whatever the blocking, so a row's bits depend on that row alone. Attention uses the same
// parts. A matrix is packed as [chunk of kChunk blocks][panel][block]: what one pass over a chunk reads lies together,
// at no power-of-two distance that would crowd a few cache sets.
#pragma once
#include "kernels/cpu/isa.h"

namespace puyu::cpu::PUYU_ISA {

inline constexpr int64_t kBlock = 16;  // words
inline constexpr int64_t kChunk = 8;   // blocks; an A and a B panel of one chunk fit L1
inline constexpr int64_t kMaxMr = 32, kMaxNr = 32;

struct Micro {
  int mr, nr;
  int per_word;  // elements in a word: 1 f32, 2 bf16, 4 int8
  // c [mr x nr, row stride ldc] = or += a * b over kblocks blocks of K; for int8 c holds int32.
  void (*run)(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t kblocks, bool add);
  void (*begin)();                  // once per thread before run (AMX tile shapes)
  int offset = 0;                   // added to the elements of A by the kernel (int8 by way of uint8)
  decltype(run) run_few = nullptr;  // run for 16 rows at most, the same bits; null: there is none

  int64_t blocks(int64_t k) const { return ceil_div(k, per_word * kBlock); }
  // Sizes in words. A chunk of one panel, and a whole operand of `panels` panels.
  int64_t a_chunk() const { return kChunk * kBlock * mr; }
  int64_t b_chunk() const { return kChunk * kBlock * nr; }
  int64_t a_size(int64_t k, int64_t panels) const { return ceil_div(blocks(k), kChunk) * panels * a_chunk(); }
  int64_t b_size(int64_t k, int64_t panels) const { return ceil_div(blocks(k), kChunk) * panels * b_chunk(); }
};
// The best micro-kernel for operands of this type: bf16 pairs where the machine multiplies them, else f32.
const Micro& micro_for(bool bf16);
const Micro& micro_int8();

// A matrix to be packed (int8: k_contiguous only), `outer` rows (of A) or columns (of B) by k. k_contiguous: element
// (i, k) at p[i * ld + k], else at p[k * ld + i].
struct Operand {
  const void* p;
  DType type;
  int64_t ld;
  bool k_contiguous;
  int64_t outer, k;
};
// Packs panel number `panel` of `panels` of the operand into the packed matrix at dst; elements outside are zero.
void pack_a(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t panels);
void pack_b(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel, int64_t panels);

// c [mr x nr] (+)= A panel i of pa times B panel j of pb, blocks [0, blocks) of K.
PUYU_INLINE void multiply_panels(const Micro& m, float* c, int64_t ldc, const uint32_t* a, int64_t i, int64_t pa,
                                 const uint32_t* b, int64_t j, int64_t pb, int64_t blocks, bool add) {
  for (int64_t chunk = 0; chunk * kChunk < blocks; ++chunk)
    m.run(c, ldc, a + (chunk * pa + i) * m.a_chunk(), b + (chunk * pb + j) * m.b_chunk(),
          imin(kChunk, blocks - chunk * kChunk), add || chunk > 0);
}

}  // namespace puyu::cpu::PUYU_ISA
