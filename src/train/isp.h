// Rows for heads (DeepSpeed-Ulysses, Jacobs et al. 2023; InternEvo's isp): n ranks with rows of all heads of a tensor
// exchange them, and each has all their rows of its heads; attention needs no more. Back again after it.
#pragma once
#include "comm/comm.h"
#include "kernels/kernels.h"

namespace puyu {

// Both return the seconds that they waited. heads = this rank's columns of the rows of all, in the order of ranks.
//   rows: act [T, W]  heads: act [n T, W / n]   W / n columns: whole heads, so n divides the key/value heads
double to_heads(Ctx& ctx, Comm& comm, Tensor heads, Tensor rows);
// The inverse.
double to_rows(Ctx& ctx, Comm& comm, Tensor rows, Tensor heads);

}  // namespace puyu
