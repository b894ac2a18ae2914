// Element types, and bf16 conversions (round to nearest even, NaN stays NaN).
#pragma once
#include <bit>
#include <cstdint>

namespace puyu {

enum class DType : uint8_t { kF32, kBF16, kF16, kI32, kI64, kI8, kU8, kI4 };  // kI4: weights in panels only

constexpr int64_t dtype_size(DType t) {
  switch (t) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kI64:
      return 8;
    case DType::kI8:
    case DType::kU8:
    case DType::kI4:  // half of it in panels, whose size pack_weight's callers ask for
      return 1;
  }
  return 0;
}
constexpr const char* dtype_name(DType t) {
  constexpr const char* kNames[] = {"f32", "bf16", "f16", "i32", "i64", "i8", "u8", "i4"};
  return kNames[static_cast<int>(t)];
}

struct BF16 {
  uint16_t bits;
};
inline float to_float(BF16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }
inline float to_float(float v) { return v; }
struct F16 {  // IEEE half; only read: weights of other programs
  uint16_t bits;
};
inline float to_float(F16 v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000) << 16, exponent = (v.bits >> 10) & 31, m = v.bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | m << 13);  // infinity, NaN
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | m << 13);
  const float small = static_cast<float>(m) * 0x1p-24f;  // subnormal or zero
  return sign ? -small : small;
}
inline BF16 to_bf16(float f) {
  auto u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 64)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16)};
}

// 32 bits that look random, a function of key and index: two rounds of an integer hash (Wellons' lowbias32), each with
// its half of the key. The kernels have the same on vectors.
constexpr uint32_t scramble(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}
constexpr uint32_t random_bits(uint64_t key, uint32_t index) {
  return scramble(scramble(index + static_cast<uint32_t>(key)) + static_cast<uint32_t>(key >> 32));
}
// Rounds away from zero with the probability of what is cut off, so that the mean of many is f. Infinities and NaN as
// to_bf16.
inline BF16 to_bf16_stochastic(float f, uint32_t random) {
  const auto u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7f800000u) == 0x7f800000u) return to_bf16(f);
  return {static_cast<uint16_t>((u + (random >> 16)) >> 16)};
}

template <class T>
constexpr DType kDTypeOf = DType::kU8;
template <>
inline constexpr DType kDTypeOf<float> = DType::kF32;
template <>
inline constexpr DType kDTypeOf<BF16> = DType::kBF16;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::kI32;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::kI64;
template <>
inline constexpr DType kDTypeOf<int8_t> = DType::kI8;

}  // namespace puyu
