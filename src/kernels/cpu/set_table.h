// For tests: kernels from elsewhere in the place of this machine's, until the next set_isa; not while kernels run.
#pragma once
#include "kernels/cpu/table.h"

namespace puyu::cpu {
void set_table(const Table& table);
}  // namespace puyu::cpu
