// The products behind linear(), for other kernels of this folder.
#pragma once
#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {

void linear_int8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
void linear_int4(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
void linear_w4a8(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual);
int64_t packed_int8_bytes(Tensor q);

}  // namespace puyu::PUYU_CUDA
