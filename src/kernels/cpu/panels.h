// Matrix products in three steps: pack A, pack B, multiply. Packed data is in 32-bit words: one f32, or two bf16
// neighbours along K. Words come in blocks of 16 along K; A panels are [k block][mr rows][16 words], B panels
// [k word][nr columns]. A micro-kernel multiplies one A panel by one B panel into an mr x nr f32 tile, adding products
// in the order of K whatever the blocking, so a row's bits depend on that row alone. Attention uses the same parts.
#pragma once
#include "kernels/cpu/isa.h"

namespace puyu::cpu::PUYU_ISA {

inline constexpr int64_t kBlock = 16;  // words
inline constexpr int64_t kMaxMr = 32, kMaxNr = 32;

struct Micro {
  int mr, nr;
  bool pairs;  // words hold two bf16
  // c [mr x nr, row stride ldc] = or += a * b over kblocks blocks of K.
  void (*run)(float* c, int64_t ldc, const uint32_t* a, const uint32_t* b, int64_t kblocks, bool add);
  void (*begin)();  // once per thread before run (AMX tile shapes)

  int64_t words(int64_t k) const { return ceil_div(pairs ? ceil_div(k, 2) : k, kBlock) * kBlock; }
  int64_t a_panel(int64_t k) const { return words(k) * mr; }  // sizes in words
  int64_t b_panel(int64_t k) const { return words(k) * nr; }
};
// The best micro-kernel for operands of this type: bf16 pairs where the machine multiplies them, else f32.
const Micro& micro_for(bool bf16);

// A matrix to be packed, `outer` rows (of A) or columns (of B) by k. k_contiguous: element (i, k) at p[i * ld + k],
// else at p[k * ld + i].
struct Operand {
  const void* p;
  DType type;
  int64_t ld;
  bool k_contiguous;
  int64_t outer, k;
};
// Panel number `panel` of the operand; elements outside are zero.
void pack_a(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel);
void pack_b(const Micro& m, uint32_t* dst, const Operand& o, int64_t panel);

}  // namespace puyu::cpu::PUYU_ISA
