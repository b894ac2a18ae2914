// The CPU kernels, compiled once per instruction set (namespace puyu::cpu::{base,avx2,avx512}) and chosen at run time
// by CPU feature bits, never by CPU family. PUYU_ISA=base|avx2|avx512|avx512bf16|amx in the environment overrides the
// choice.
#pragma once
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace puyu::cpu {

// Declarations only, to take the types from.
namespace proto {
#include "kernels/signatures.inc"
}

struct Table {
  decltype(&proto::embedding) embedding;
  decltype(&proto::embedding_backward) embedding_backward;
  decltype(&proto::rmsnorm) rmsnorm;
  decltype(&proto::rmsnorm_backward) rmsnorm_backward;
  decltype(&proto::linear) linear;
  decltype(&proto::linear_dx) linear_dx;
  decltype(&proto::linear_dw) linear_dw;
  decltype(&proto::add_bias) add_bias;
  decltype(&proto::add_bias_backward) add_bias_backward;
  decltype(&proto::packed_weight_bytes) packed_weight_bytes;
  decltype(&proto::pack_weight) pack_weight;
  decltype(&proto::quantize_rows) quantize_rows;
  decltype(&proto::pack_weight_int8) pack_weight_int8;
  decltype(&proto::quantize_groups) quantize_groups;
  decltype(&proto::packed_int4_bytes) packed_int4_bytes;
  decltype(&proto::pack_weight_int4) pack_weight_int4;
  decltype(&proto::rope) rope;
  decltype(&proto::attention_packed) attention_packed;
  decltype(&proto::attention_backward) attention_backward;
  decltype(&proto::attention_part) attention_part;
  decltype(&proto::attention_part_backward) attention_part_backward;
  decltype(&proto::kv_append) kv_append;
  decltype(&proto::attention_paged) attention_paged;
  decltype(&proto::swiglu) swiglu;
  decltype(&proto::swiglu_backward) swiglu_backward;
  decltype(&proto::fused_cross_entropy) fused_cross_entropy;
  decltype(&proto::target_logp) target_logp;
  decltype(&proto::softmax_parts) softmax_parts;
  decltype(&proto::softmax_backward) softmax_backward;
  decltype(&proto::gather_rows) gather_rows;
  decltype(&proto::scatter_add_rows) scatter_add_rows;
  decltype(&proto::add) add;
  decltype(&proto::fill) fill;
  decltype(&proto::cast) cast;
  decltype(&proto::sum_squares) sum_squares;
  decltype(&proto::adamw) adamw;
};

// What the machine can do beyond the three builds; the avx512 build's matmul asks at run time.
struct Features {
  bool avx2 = false, avx512 = false, avx512_bf16 = false, amx_bf16 = false;
  bool avx512_vnni = false, amx_int8 = false;  // int8 products
};
const Features& features();

const Table& table();
std::string isa_name();                     // "amx", "avx2" …
std::vector<std::string> available_isas();  // best last; what PUYU_ISA and set_isa accept here
void set_isa(const std::string& name);      // for tests and benchmarks; not while kernels run

}  // namespace puyu::cpu
