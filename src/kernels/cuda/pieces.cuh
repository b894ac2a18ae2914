// Sums over rows in pieces of a fixed number of rows: the order of additions depends on nothing else.
#pragma once
#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {

// y[i] += part[0][i] + part[1][i] + … in this order.   part: [pieces, n]
void add_pieces(Ctx& ctx, float* y, const float* part, int64_t pieces, int64_t n);

}  // namespace puyu::PUYU_CUDA
