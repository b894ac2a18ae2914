// The packed forms of quantised weights: rows padded to whole groups of 128 along K, then their scales.
#pragma once
#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {

inline int64_t padded_depth(int64_t K) { return ceil_div(K, kQuantGroup) * kQuantGroup; }

struct PackedInt8 {
  int8_t* rows;  // [N, padded K]
  float* scale;  // [N]
};
inline PackedInt8 packed_int8(void* p, int64_t N, int64_t K) {
  auto* rows = static_cast<int8_t*>(p);
  return {rows, reinterpret_cast<float*>(rows + N * padded_depth(K))};
}
struct PackedInt4 {
  uint8_t* bytes;       // [N, padded K / 2]: of each 32 numbers, i and i + 16 share a byte
  float *scale, *zero;  // [N, groups]
};
inline PackedInt4 packed_int4(void* p, int64_t N, int64_t K) {
  auto* bytes = static_cast<uint8_t*>(p);
  auto* scale = reinterpret_cast<float*>(bytes + N * padded_depth(K) / 2);
  return {bytes, scale, scale + N * ceil_div(K, kQuantGroup)};
}

// Rows of x as quantize_rows makes them, `width` numbers apart, zeros from K on.   scale: [M]
void quantize_to(Ctx& ctx, int8_t* q, float* scale, Tensor x, int64_t width);
// Each group of 128 of a row by itself, with the sum of its numbers.   q: [M, groups * 128]  scale, sum: [M, groups]
void quantize_row_groups(Ctx& ctx, int8_t* q, float* scale, int32_t* sum, Tensor x);

}  // namespace puyu::PUYU_CUDA
