// Stands in for cuda/ in builds without nvcc: every call says so.
#include "base/error.h"
#include "kernels/cuda/cuda.h"

namespace puyu::cuda {
namespace {
[[noreturn]] void no_cuda(const char* op) {
  fail("[", op, "] this puyu was built without CUDA; use --device cpu, or build with nvcc installed");
}
}  // namespace

void embedding(Ctx&, Tensor, Tensor, const int32_t*) { no_cuda("embedding"); }
void embedding_backward(Ctx&, Tensor, Tensor, const int32_t*) { no_cuda("embedding_backward"); }
void rmsnorm(Ctx&, Tensor, Tensor, Tensor, Tensor, float) { no_cuda("rmsnorm"); }
void rmsnorm_backward(Ctx&, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) { no_cuda("rmsnorm_backward"); }
void linear(Ctx&, Tensor, Tensor, Tensor, Tensor) { no_cuda("linear"); }
void linear_dx(Ctx&, Tensor, Tensor, Tensor, bool) { no_cuda("linear_dx"); }
void linear_dw(Ctx&, Tensor, Tensor, Tensor) { no_cuda("linear_dw"); }
void add_bias(Ctx&, Tensor, Tensor) { no_cuda("add_bias"); }
void add_bias_backward(Ctx&, Tensor, Tensor) { no_cuda("add_bias_backward"); }
int64_t packed_weight_bytes(const Ctx&, Tensor) { no_cuda("packed_weight_bytes"); }
Tensor pack_weight(Ctx&, void*, Tensor) { no_cuda("pack_weight"); }
void quantize_rows(Ctx&, Tensor, Tensor, Tensor) { no_cuda("quantize_rows"); }
Tensor pack_weight_int8(Ctx&, void*, Tensor, Tensor) { no_cuda("pack_weight_int8"); }
void quantize_groups(Ctx&, Tensor, Tensor, Tensor, Tensor) { no_cuda("quantize_groups"); }
int64_t packed_int4_bytes(const Ctx&, int64_t, int64_t, DType) { no_cuda("packed_int4_bytes"); }
Tensor pack_weight_int4(Ctx&, void*, Tensor, Tensor, Tensor, DType) { no_cuda("pack_weight_int4"); }
void rope(Ctx&, Tensor, const int32_t*, Tensor, Heads, bool) { no_cuda("rope"); }
void attention_packed(Ctx&, Tensor, Tensor, Tensor, Heads, const PackedSeqs&) { no_cuda("attention"); }
void attention_backward(Ctx&, Tensor, Tensor, Tensor, Tensor, Tensor, Heads, const PackedSeqs&) {
  no_cuda("attention_backward");
}
void attention_part(Ctx&, Tensor, Tensor, Tensor, Tensor, Heads, const AttentionSpan*, int64_t) {
  no_cuda("attention_part");
}
void attention_part_backward(Ctx&, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Heads, const AttentionSpan*,
                             int64_t) {
  no_cuda("attention_part_backward");
}
void kv_append(Ctx&, Tensor, Heads, const PagedSeqs&) { no_cuda("kv_append"); }
void attention_paged(Ctx&, Tensor, Tensor, Heads, const PagedSeqs&) { no_cuda("attention"); }
void swiglu(Ctx&, Tensor, Tensor, Tensor) { no_cuda("swiglu"); }
void swiglu_backward(Ctx&, Tensor, Tensor, Tensor, Tensor, Tensor) { no_cuda("swiglu_backward"); }
void fused_cross_entropy(Ctx&, const CrossEntropyOut&, Tensor, Tensor, Tensor, Tensor, const int32_t*, const float*) {
  no_cuda("fused_cross_entropy");
}
void target_logp(Ctx&, Tensor, Tensor, const int32_t*) { no_cuda("target_logp"); }
void softmax_parts(Ctx&, Tensor, Tensor, const int32_t*) { no_cuda("softmax_parts"); }
void softmax_backward(Ctx&, Tensor, Tensor, Tensor, const int32_t*, const float*) { no_cuda("softmax_backward"); }
void gather_rows(Ctx&, Tensor, Tensor, const int32_t*) { no_cuda("gather_rows"); }
void scatter_add_rows(Ctx&, Tensor, Tensor, const int32_t*) { no_cuda("scatter_add_rows"); }
void add(Ctx&, Tensor, Tensor) { no_cuda("add"); }
void fill(Ctx&, Tensor, float) { no_cuda("fill"); }
void cast(Ctx&, Tensor, Tensor) { no_cuda("cast"); }
double sum_squares(Ctx&, Tensor) { no_cuda("sum_squares"); }
void adamw(Ctx&, Tensor, Tensor, Tensor, Tensor, Tensor, const AdamW&) { no_cuda("adamw"); }

}  // namespace puyu::cuda
