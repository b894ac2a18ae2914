// ggml's number formats: plain floats, and blocks of quantised numbers with their scales. Decoding of what GGUF files
// commonly hold, encoding of q8_0 and q4_0 as ggml's reference does it, and of q4_k by a search of its scales.
#pragma once
#include <cstdint>
#include <string>

namespace puyu {

enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30
};
struct GgmlFormat {
  const char* name;
  int64_t block;  // numbers in a block
  int64_t bytes;  // of a block
};
// Null for a type that we do not read.
const GgmlFormat* ggml_format(GgmlType type);
GgmlType ggml_type(const std::string& name);  // f32, f16, bf16, q8_0, q4_0: what can be written; Error otherwise

void ggml_decode(GgmlType type, const void* from, int64_t n, float* to);  // n: whole blocks
void ggml_encode(GgmlType type, const float* from, int64_t n, void* to);

uint16_t f16_bits(float f);  // rounded to the nearest, ties to even

}  // namespace puyu
