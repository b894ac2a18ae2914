// Reading quantised pages of keys and values; kv_append writes them.
#pragma once
#include "kernels/cpu/isa.h"

namespace puyu::cpu::PUYU_ISA {

int kv_bits(Tensor pages, int64_t hd);  // 8, 4, or 0 for pages of the activations' type
// Rows [first_row, first_row + rows) of pages [.., row bytes] as act [rows, hd].
void read_kv_tile(Tensor pages, int64_t first_row, int64_t rows, int64_t hd, DType act, void* out);

}  // namespace puyu::cpu::PUYU_ISA
