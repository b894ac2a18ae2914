// Compiled once per instruction set: this build's entry in the table.
#include "kernels/cpu/isa.h"
#include "kernels/cpu/table.h"

namespace puyu::cpu {
namespace PUYU_ISA {
#include "kernels/signatures.inc"

extern const Table kTable;
const Table kTable = {&embedding,
                      &embedding_backward,
                      &rmsnorm,
                      &rmsnorm_backward,
                      &linear,
                      &linear_dx,
                      &linear_dw,
                      &add_bias,
                      &add_bias_backward,
                      &packed_weight_bytes,
                      &pack_weight,
                      &quantize_rows,
                      &pack_weight_int8,
                      &quantize_groups,
                      &packed_int4_bytes,
                      &pack_weight_int4,
                      &rope,
                      &attention_packed,
                      &attention_backward,
                      &attention_part,
                      &attention_part_backward,
                      &kv_append,
                      &attention_paged,
                      &swiglu,
                      &swiglu_backward,
                      &fused_cross_entropy,
                      &target_logp,
                      &softmax_parts,
                      &softmax_backward,
                      &gather_rows,
                      &scatter_add_rows,
                      &add,
                      &fill,
                      &cast,
                      &sum_squares,
                      &adamw};
}  // namespace PUYU_ISA
}  // namespace puyu::cpu
