// C = A B (+ residual, or += C) on packed panels; used by linear and its gradients, and by the fused cross-entropy.
#pragma once
#include "kernels/cpu/panels.h"

namespace puyu::cpu::PUYU_ISA {

// Turns the int32 sums of an int8 product into numbers: c = (sum + offset[n]) * row[m] * col[n]. The columns' arrays
// are padded to whole panels.
struct Dequant {
  const float* row;
  const float* col;
  const int32_t* offset;
};
struct MatmulOut {
  void* c;
  DType type;
  int64_t ld;
  const void* residual = nullptr;    // same type and ld as c; may be c itself
  const Dequant* dequant = nullptr;  // for int8 operands
};
// packed_b: panels made by pack_b for all of b, or null to pack here.
void matmul(Ctx& ctx, const Operand& a, const Operand& b, const uint32_t* packed_b, const MatmulOut& out);

// How a packed weight that is no plain matrix of words is multiplied.
struct Form {
  const Micro* micro;
  // As pack_a, for an operand of the activations' type; row_scale: what Dequant will find there, [M].
  void (*pack_a)(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels,
                 float* row_scale);
  float* row_scale = nullptr;
  // For a packed B that is not in the kernel's words: writes one chunk of a panel as words; and the words that it takes
  // while packed.
  void (*unpack)(const Micro&, uint32_t* words, const uint32_t* packed) = nullptr;
  int64_t packed_chunk = 0;
  int64_t b_chunk() const { return unpack ? packed_chunk : micro->b_chunk(); }
};
void pack_plain(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels, float*);
// c [a.outer, N]
void matmul(Ctx& ctx, const Form& form, const Operand& a, int64_t N, const void* packed_b, const MatmulOut& out);

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
// For weights of pack_weight_int8 (int8.cc).
void linear_int8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
int64_t packed_int8_bytes(Tensor q);
void linear_int4(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
void linear_w4a8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
int64_t packed_w4a8_bytes(int64_t N, int64_t K);
void pack_w4a8(void* dst, Tensor q, Tensor scale, Tensor zero);

}  // namespace puyu::cpu::PUYU_ISA
