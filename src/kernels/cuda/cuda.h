// The CUDA half of the seam. cuda_stub.cc defines the same functions where there is no nvcc.
#pragma once
#include "kernels/kernels.h"

namespace puyu::cuda {
#include "kernels/signatures.inc"
}  // namespace puyu::cuda
