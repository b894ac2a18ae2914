// How pages hold keys and values; kv_append writes them.
#pragma once
#include "kernels/cpu/panels.h"

namespace puyu::cpu::PUYU_ISA {

// Pages of the activations' type whose rows fill whole blocks hold K and V as the micro-kernel reads them, as B: no
// step packs them again. Keys: [panel of nr keys][word of HD][nr]; values: [panel of nr dims][word of keys][nr]. Others
// hold rows, [kPage][HD].
struct PageForm {
  bool packed;
  int64_t k_panel, v_panel;  // words of a panel
};
PUYU_INLINE PageForm page_form(const Micro& m, DType act, int64_t hd) {
  const bool whole = hd % (kBlock * m.per_word) == 0 && hd % m.nr == 0;
  return {whole && m.per_word * dtype_size(act) == 4, m.blocks(hd) * kBlock * m.nr, m.blocks(kPage) * kBlock * m.nr};
}

int kv_bits(Tensor pages, int64_t hd);  // 8, 4, or 0 for pages of the activations' type
// Rows [first_row, first_row + rows) of pages [.., row bytes] as act [rows, hd].
void read_kv_tile(Tensor pages, int64_t first_row, int64_t rows, int64_t hd, DType act, void* out);

}  // namespace puyu::cpu::PUYU_ISA
