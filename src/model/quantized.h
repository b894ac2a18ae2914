// Matrices stored as small integers: ours (puyu quantize), and GPTQ's and AWQ's in 4 bits. All become the numbers of
// the kernel seam (kernels.h, quantize_rows and quantize_groups). docs/formats.d/quantized.md has the layouts.
#pragma once
#include <functional>
#include <string>

#include "base/json.h"
#include "kernels/kernels.h"

namespace puyu {

// w8a8: q i8 [N, K], scale f32 [N], no zero. w4a16, w4a8: q u8 [N, K] in 0 … 15, scale and zero f32 [N, ceil(K / 128)].
struct QuantizedWeight {
  Tensor q, scale, zero;
};
inline int64_t quant_groups(int64_t K) { return (K + kQuantGroup - 1) / kQuantGroup; }
bool is_scheme(const std::string& name);  // w8a8, w4a16, w4a8
inline constexpr const char* kSchemes = "w8a8, w4a16 or w4a8";

// Quantises w [N, K] in f32 or bf16; what it gives is from ctx.scratch.
QuantizedWeight quantize_weight(Ctx& ctx, Tensor w, const std::string& scheme);
void dequantize(const QuantizedWeight& w, Tensor to);  // to: f32 or bf16 [N, K]

// In panels from `arena`, for linear() with activations of this type.
Tensor pack_quantized(Ctx& ctx, Arena& arena, const QuantizedWeight& w, DType act);

// What config.json says of the matrices.
struct QuantizationConfig {
  enum class Form { kNone, kPuyu, kGptq, kAwq };
  Form form = Form::kNone;
  std::string scheme;           // in which the matrices are multiplied; empty: not quantised
  bool zeros_less_one = false;  // GPTQ's first format stores zero points less one
  std::string checksum;         // ours: XXH3-64 of the tensors' bytes, 16 hexadecimal digits
};
// Error that names the key of what cannot be read.
QuantizationConfig parse_quantization(const Json& config);
Json to_json(const QuantizationConfig& q);  // ours

// The tensors of a matrix: BASE.qweight and its companions. `find` gives null for what the files do not hold.
using FindTensor = std::function<const Tensor*(const std::string& name)>;
bool is_quantized_part(const QuantizationConfig& q, const std::string& name, std::string& base);
// From ctx.scratch, or views of the file. Error when a part is missing, has another shape or holds what cannot be.
QuantizedWeight read_quantized(Ctx& ctx, const QuantizationConfig& q, const FindTensor& find, const std::string& base,
                               int64_t N, int64_t K);

// Our 4-bit layout: two numbers a byte, the even k in the low half; an odd K ends in a zero half.   q: u8 [N, K]
std::string pack_nibbles(Tensor q);

}  // namespace puyu
