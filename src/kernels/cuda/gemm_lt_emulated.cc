#include "kernels/cuda/gemm_lt.h"

#include "kernels/cuda/emulator.h"

namespace puyu::cuda {
namespace {

float number(const void* p, DType t, int64_t i) {
  return t == DType::kBF16 ? to_float(static_cast<const BF16*>(p)[i]) : static_cast<const float*>(p)[i];
}

}  // namespace

bool gemm_lt(Ctx&, const LtCall& c) {
  // Like the library: no algorithm for columns that do not start at multiples of 16 bytes.
  if (c.lda * dtype_size(c.in) % 16 != 0 || c.ldb * dtype_size(c.in) % 16 != 0) return false;
  const emulator::DeviceWorks works;
  for (int64_t j = 0; j < c.n; ++j)
    for (int64_t i = 0; i < c.m; ++i) {
      float sum = 0;
      for (int64_t l = 0; l < c.k; ++l)
        sum += number(c.a, c.in, c.transpose_a ? l + i * c.lda : i + l * c.lda) *
               number(c.b, c.in, c.transpose_b ? j + l * c.ldb : l + j * c.ldb);
      if (c.c) sum += number(c.c, c.out, i + j * c.ldd);
      if (c.out == DType::kBF16)
        static_cast<BF16*>(c.d)[i + j * c.ldd] = to_bf16(sum);
      else
        static_cast<float*>(c.d)[i + j * c.ldd] = sum;
    }
  return true;
}

}  // namespace puyu::cuda
