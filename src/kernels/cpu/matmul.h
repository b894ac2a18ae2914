// C = A B (+ residual, or += C) on packed panels; used by linear and its gradients, and by the fused cross-entropy.
#pragma once
#include "kernels/cpu/panels.h"

namespace puyu::cpu::PUYU_ISA {

struct MatmulOut {
  void* c;
  DType type;
  int64_t ld;
  const void* residual = nullptr;  // same type and ld as c; may be c itself
};
// packed_b: panels made by pack_b for all of b, or null to pack here.
void matmul(Ctx& ctx, const Operand& a, const Operand& b, const uint32_t* packed_b, const MatmulOut& out);

}  // namespace puyu::cpu::PUYU_ISA
