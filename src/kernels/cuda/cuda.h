// The CUDA half of the seam. cuda_stub.cc defines the same functions where there is no nvcc.
#pragma once
#include "kernels/kernels.h"

#ifdef PUYU_CUDA_EMULATION  // tests of what runs on a device: its calls go to the emulator
namespace puyu::cpu::cuda_emulated {
#include "kernels/signatures.inc"
}  // namespace puyu::cpu::cuda_emulated
namespace puyu {
namespace cuda = cpu::cuda_emulated;
}
#else
namespace puyu::cuda {
#include "kernels/signatures.inc"
}  // namespace puyu::cuda
#endif
