// Checks every call once, for all devices, then hands it to the device.
#include "kernels/kernels.h"

#include "base/error.h"
#include "kernels/cpu/table.h"
#include "kernels/cuda/cuda.h"

namespace puyu {
namespace {

bool is_act(const Tensor& t) { return t.dtype == DType::kF32 || t.dtype == DType::kBF16; }

// A weight of the activations' dtype, or one of int8 or int4 in panels.
bool multiplies(const Tensor& x, const Tensor& w) {
  return w.dtype == x.dtype || ((w.dtype == DType::kI8 || w.dtype == DType::kI4) && w.layout != Layout::kPlain);
}

// Shapes come from the model's own config, so a mismatch is a programmer's error.
void want(bool ok, const char* op, const char* rule, std::initializer_list<Tensor> tensors) {
  if (ok) [[likely]]
    return;
  std::string got;
  for (const Tensor& t : tensors) got += (got.empty() ? "" : ", ") + (t ? shape_string(t) : std::string("none"));
  std::string text = cat("[", op, "] expected ", rule, ", got ", got);
  ::puyu::detail::check_failed(__FILE__, __LINE__, "shapes", text.c_str());
}

// Device kernels have the signatures of kernels.h; the CPU's come from a table chosen by instruction set.
template <class R, class... P, class... A>
R call(const Ctx& ctx, R (*cpu)(P...), R (*cuda)(P...), A&&... a) {
  return ctx.device == Device::kCpu ? cpu(std::forward<A>(a)...) : cuda(std::forward<A>(a)...);
}
#define PUYU_CALL(name, ...) call(ctx, cpu::table().name, &cuda::name, __VA_ARGS__)

}  // namespace

void embedding(Ctx& ctx, Tensor y, Tensor table, const int32_t* ids) {
  want(is_act(y) && y.dtype == table.dtype && y.rank == 2 && table.rank == 2 && y.shape[1] == table.shape[1],
       "embedding", "y [T, D], table [V, D]", {y, table});
  PUYU_CALL(embedding, ctx, y, table, ids);
}
void embedding_backward(Ctx& ctx, Tensor dtable, Tensor dy, const int32_t* ids) {
  want(dtable.dtype == DType::kF32 && is_act(dy) && dtable.shape[1] == dy.shape[1], "embedding_backward",
       "dtable f32 [V, D], dy [T, D]", {dtable, dy});
  PUYU_CALL(embedding_backward, ctx, dtable, dy, ids);
}
void rmsnorm(Ctx& ctx, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps) {
  want(is_act(x) && y.dtype == x.dtype && w.dtype == x.dtype && y.numel() == x.numel() && w.numel() == x.size(1) &&
           (!rstd || (rstd.numel() == x.size(0) && rstd.dtype == DType::kF32)),
       "rmsnorm", "y, x [T, D], w [D], rstd f32 [T]", {y, x, w, rstd});
  PUYU_CALL(rmsnorm, ctx, y, rstd, x, w, eps);
}
void rmsnorm_backward(Ctx& ctx, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd) {
  want(is_act(x) && dx.dtype == x.dtype && dy.dtype == x.dtype && dw.dtype == DType::kF32 && dx.numel() == x.numel() &&
           dy.numel() == x.numel() && dw.numel() == x.size(1) && rstd.numel() == x.size(0),
       "rmsnorm_backward", "dx, dy, x [T, D], dw f32 [D], rstd f32 [T]", {dx, dw, dy, x, w, rstd});
  PUYU_CALL(rmsnorm_backward, ctx, dx, dw, dy, x, w, rstd);
}
void linear(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  want(is_act(x) && is_act(y) && multiplies(x, w) && x.rank == 2 && w.rank == 2 && y.rank == 2 &&
           x.shape[1] == w.shape[1] && y.shape[0] == x.shape[0] && y.shape[1] == w.shape[0] &&
           (!residual || (residual.dtype == y.dtype && residual.numel() == y.numel())),
       "linear", "y [M, N], x [M, K], w [N, K], residual as y", {y, x, w, residual});
  PUYU_CALL(linear, ctx, y, x, w, residual);
}
void linear_dx(Ctx& ctx, Tensor dx, Tensor dy, Tensor w, bool accumulate) {
  want(is_act(dx) && dy.dtype == w.dtype && w.layout == Layout::kPlain && dy.shape[1] == w.shape[0] &&
           dx.shape[1] == w.shape[1] && dx.shape[0] == dy.shape[0],
       "linear_dx", "dx [M, K], dy [M, N], w [N, K] plain", {dx, dy, w});
  PUYU_CALL(linear_dx, ctx, dx, dy, w, accumulate);
}
void linear_dw(Ctx& ctx, Tensor dw, Tensor dy, Tensor x) {
  want(dw.dtype == DType::kF32 && dy.dtype == x.dtype && dw.shape[0] == dy.shape[1] && dw.shape[1] == x.shape[1] &&
           dy.shape[0] == x.shape[0],
       "linear_dw", "dw f32 [N, K], dy [M, N], x [M, K]", {dw, dy, x});
  PUYU_CALL(linear_dw, ctx, dw, dy, x);
}
void add_bias(Ctx& ctx, Tensor y, Tensor b) {
  want(is_act(y) && y.dtype == b.dtype && y.rank == 2 && b.numel() == y.shape[1], "add_bias", "y [T, N], b [N]",
       {y, b});
  PUYU_CALL(add_bias, ctx, y, b);
}
void add_bias_backward(Ctx& ctx, Tensor db, Tensor dy) {
  want(db.dtype == DType::kF32 && is_act(dy) && dy.rank == 2 && db.numel() == dy.shape[1], "add_bias_backward",
       "db f32 [N], dy [T, N]", {db, dy});
  PUYU_CALL(add_bias_backward, ctx, db, dy);
}
int64_t packed_weight_bytes(const Ctx& ctx, Tensor w) { return PUYU_CALL(packed_weight_bytes, ctx, w); }
Tensor pack_weight(Ctx& ctx, void* dst, Tensor w) {
  want(is_act(w) && w.rank == 2 && w.layout == Layout::kPlain, "pack_weight", "w [N, K] plain", {w});
  return PUYU_CALL(pack_weight, ctx, dst, w);
}
void quantize_rows(Ctx& ctx, Tensor q, Tensor scale, Tensor x) {
  want(is_act(x) && x.rank == 2 && q.dtype == DType::kI8 && q.rank == 2 && q.shape[0] == x.shape[0] &&
           q.shape[1] == x.shape[1] && scale.dtype == DType::kF32 && scale.numel() == x.shape[0],
       "quantize_rows", "q i8 [M, K], scale f32 [M], x [M, K]", {q, scale, x});
  PUYU_CALL(quantize_rows, ctx, q, scale, x);
}
Tensor pack_weight_int8(Ctx& ctx, void* dst, Tensor q, Tensor scale) {
  want(q.dtype == DType::kI8 && q.rank == 2 && q.layout == Layout::kPlain && scale.dtype == DType::kF32 &&
           scale.numel() == q.shape[0],
       "pack_weight_int8", "q i8 [N, K] plain, scale f32 [N]", {q, scale});
  return PUYU_CALL(pack_weight_int8, ctx, dst, q, scale);
}
void quantize_groups(Ctx& ctx, Tensor q, Tensor scale, Tensor zero, Tensor w) {
  want(is_act(w) && w.rank == 2 && q.dtype == DType::kU8 && q.numel() == w.numel() && scale.dtype == DType::kF32 &&
           zero.dtype == DType::kF32 && scale.numel() == zero.numel() &&
           scale.numel() == w.shape[0] * ((w.shape[1] + kQuantGroup - 1) / kQuantGroup),
       "quantize_groups", "q u8 [N, K], scale and zero f32 [N, K / 128], w [N, K]", {q, scale, zero, w});
  PUYU_CALL(quantize_groups, ctx, q, scale, zero, w);
}
int64_t packed_int4_bytes(const Ctx& ctx, int64_t N, int64_t K, DType act) {
  return PUYU_CALL(packed_int4_bytes, ctx, N, K, act);
}
Tensor pack_weight_int4(Ctx& ctx, void* dst, Tensor q, Tensor scale, Tensor zero, DType act) {
  want(q.dtype == DType::kU8 && q.rank == 2 && q.layout == Layout::kPlain && scale.dtype == DType::kF32 &&
           scale.numel() == q.shape[0] * ((q.shape[1] + kQuantGroup - 1) / kQuantGroup) &&
           zero.numel() == scale.numel(),
       "pack_weight_int4", "q u8 [N, K] plain, scale and zero f32 [N, K / 128]", {q, scale, zero});
  return PUYU_CALL(pack_weight_int4, ctx, dst, q, scale, zero, act);
}
void rope(Ctx& ctx, Tensor qkv, const int32_t* positions, Tensor table, Heads heads, bool inverse) {
  want(is_act(qkv) && qkv.size(1) == heads.row() && table.dtype == DType::kF32 && table.size(1) == heads.dim, "rope",
       "qkv [T, (H + 2 KV) HD], table f32 [max_pos, HD]", {qkv, table});
  PUYU_CALL(rope, ctx, qkv, positions, table, heads, inverse);
}
void attention(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads, const PackedSeqs& seqs) {
  want(is_act(o) && o.dtype == qkv.dtype && qkv.size(1) == heads.row() && o.size(1) == heads.q * heads.dim &&
           o.size(0) == qkv.size(0) && (!lse || lse.numel() == o.size(0) * heads.q),
       "attention", "o [T, H HD], lse f32 [T, H], qkv [T, (H + 2 KV) HD]", {o, lse, qkv});
  PUYU_CALL(attention_packed, ctx, o, lse, qkv, heads, seqs);
}
void attention_backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads,
                        const PackedSeqs& seqs) {
  want(dqkv.dtype == qkv.dtype && dqkv.numel() == qkv.numel() && do_.numel() == o.numel() && do_.dtype == o.dtype &&
           lse.numel() == o.size(0) * heads.q,
       "attention_backward", "dqkv as qkv, do as o, lse f32 [T, H]", {dqkv, do_, o, lse, qkv});
  PUYU_CALL(attention_backward, ctx, dqkv, do_, o, lse, qkv, heads, seqs);
}
namespace {
void want_spans(const char* op, Tensor o, Tensor lse, Tensor qkv, Tensor kv, Heads heads, const AttentionSpan* spans,
                int64_t n) {
  want(is_act(qkv) && kv.dtype == qkv.dtype && qkv.size(1) == heads.row() && kv.size(1) == 2 * heads.kv * heads.dim &&
           o.size(1) == heads.q * heads.dim && o.size(0) == qkv.size(0) && lse.dtype == DType::kF32 &&
           lse.numel() == o.size(0) * heads.q,
       op, "o [T, H HD], lse f32 [T, H], qkv [T, (H + 2 KV) HD], kv [S, 2 KV HD]", {o, lse, qkv, kv});
  for (int64_t i = 0; i < n; ++i) {
    const AttentionSpan& s = spans[i];
    CHECK(s.q >= 0 && s.queries > 0 && s.q + s.queries <= qkv.shape[0] && s.k >= 0 && s.keys > 0 &&
              s.k + s.keys <= kv.shape[0] && s.first >= 0 && s.keys <= s.first + s.queries,
          "a span of rows that are there and keys that someone sees");
  }
}
}  // namespace
void attention_part(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Tensor kv, Heads heads, const AttentionSpan* spans,
                    int64_t n) {
  want_spans("attention_part", o, lse, qkv, kv, heads, spans, n);
  CHECK(o.dtype == DType::kF32);
  PUYU_CALL(attention_part, ctx, o, lse, qkv, kv, heads, spans, n);
}
void attention_part_backward(Ctx& ctx, Tensor dq, Tensor dkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Tensor kv,
                             Heads heads, const AttentionSpan* spans, int64_t n) {
  want_spans("attention_part_backward", o, lse, qkv, kv, heads, spans, n);
  want(dq.dtype == DType::kF32 && dq.numel() == o.numel() && dkv.dtype == DType::kF32 && dkv.numel() == kv.numel() &&
           do_.dtype == qkv.dtype && do_.numel() == o.numel() && o.dtype == qkv.dtype,
       "attention_part_backward", "dq f32 as o, dkv f32 as kv, do and o as qkv", {dq, dkv, do_, o});
  PUYU_CALL(attention_part_backward, ctx, dq, dkv, do_, o, lse, qkv, kv, heads, spans, n);
}
void kv_append(Ctx& ctx, Tensor qkv, Heads heads, const PagedSeqs& seqs) {
  const Tensor &k = seqs.k_pages, &v = seqs.v_pages;
  const int64_t row = k.size(3), dim = heads.dim;
  const bool plain = k.dtype == qkv.dtype && row == dim;
  const bool quantised =
      k.dtype == DType::kU8 && dim % 2 == 0 && (row == kv_row_bytes(dim, 8) || row == kv_row_bytes(dim, 4));
  want(qkv.size(1) == heads.row() && (plain || quantised) && k.size(1) == heads.kv && k.size(2) == kPage &&
           v.dtype == k.dtype && v.numel() == k.numel(),
       "kv_append", "qkv [T, (H + 2 KV) HD], pages [P, KV, 64, HD] or quantised rows", {qkv, k, v});
  PUYU_CALL(kv_append, ctx, qkv, heads, seqs);
}
void attention(Ctx& ctx, Tensor o, Tensor qkv, Heads heads, const PagedSeqs& seqs) {
  want(o.dtype == qkv.dtype && qkv.size(1) == heads.row() && o.size(1) == heads.q * heads.dim &&
           o.size(0) == qkv.size(0),
       "attention", "o [T, H HD], qkv [T, (H + 2 KV) HD]", {o, qkv});
  PUYU_CALL(attention_paged, ctx, o, qkv, heads, seqs);
}
void swiglu(Ctx& ctx, Tensor y, Tensor gate, Tensor up) {
  want(
      is_act(y) && y.dtype == gate.dtype && y.dtype == up.dtype && y.numel() == gate.numel() && y.numel() == up.numel(),
      "swiglu", "y, gate, up of one shape", {y, gate, up});
  PUYU_CALL(swiglu, ctx, y, gate, up);
}
void swiglu_backward(Ctx& ctx, Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up) {
  want(is_act(dy) && dgate.dtype == dy.dtype && dgate.numel() == dy.numel() && dup.numel() == dy.numel() &&
           gate.numel() == dy.numel() && up.numel() == dy.numel(),
       "swiglu_backward", "five tensors of one shape", {dgate, dup, dy, gate, up});
  PUYU_CALL(swiglu_backward, ctx, dgate, dup, dy, gate, up);
}
void fused_cross_entropy(Ctx& ctx, const CrossEntropyOut& out, Tensor dx, Tensor dw, Tensor x, Tensor w,
                         const int32_t* target, const float* coef) {
  want(is_act(x) && multiplies(x, w) && x.size(1) == w.size(1) && out.logp.numel() == x.size(0) &&
           (!dx || dx.numel() == x.numel()) && (!dw || (dw.dtype == DType::kF32 && dw.numel() == w.numel())) &&
           (!(dx || dw) || (coef && x.dtype == w.dtype)),
       "fused_cross_entropy", "x [T, D], w [V, D], logp f32 [T], dx as x, dw f32 as w", {x, w, out.logp, dx, dw});
  PUYU_CALL(fused_cross_entropy, ctx, out, dx, dw, x, w, target, coef);
}
void target_logp(Ctx& ctx, Tensor logp, Tensor logits, const int32_t* target) {
  want(logits.dtype == DType::kF32 && logits.rank == 2 && logp.dtype == DType::kF32 && logp.numel() == logits.size(0),
       "target_logp", "logits f32 [T, V], logp f32 [T]", {logits, logp});
  PUYU_CALL(target_logp, ctx, logp, logits, target);
}
void softmax_parts(Ctx& ctx, Tensor parts, Tensor logits, const int32_t* target) {
  want(logits.dtype == DType::kF32 && logits.rank == 2 && parts.dtype == DType::kF32 && parts.rank == 2 &&
           parts.shape[0] == logits.shape[0] && parts.shape[1] == 3,
       "softmax_parts", "logits f32 [T, V], parts f32 [T, 3]", {logits, parts});
  PUYU_CALL(softmax_parts, ctx, parts, logits, target);
}
void softmax_backward(Ctx& ctx, Tensor grad, Tensor logits, Tensor lse, const int32_t* target, const float* coef) {
  want(logits.dtype == DType::kF32 && logits.rank == 2 && is_act(grad) && grad.numel() == logits.numel() &&
           lse.dtype == DType::kF32 && lse.numel() == logits.shape[0],
       "softmax_backward", "logits f32 [T, V], grad act [T, V], lse f32 [T]", {logits, grad, lse});
  PUYU_CALL(softmax_backward, ctx, grad, logits, lse, target, coef);
}
void gather_rows(Ctx& ctx, Tensor y, Tensor x, const int32_t* index) {
  want(y.dtype == x.dtype && y.size(1) == x.size(1), "gather_rows", "y [n, D], x [T, D]", {y, x});
  PUYU_CALL(gather_rows, ctx, y, x, index);
}
void scatter_add_rows(Ctx& ctx, Tensor y, Tensor x, const int32_t* index) {
  want(is_act(y) && y.dtype == x.dtype && y.size(1) == x.size(1), "scatter_add_rows", "y [T, D], x [n, D]", {y, x});
  PUYU_CALL(scatter_add_rows, ctx, y, x, index);
}
void add(Ctx& ctx, Tensor y, Tensor x) {
  want(is_act(y) && y.dtype == x.dtype && y.numel() == x.numel(), "add", "y, x of one shape", {y, x});
  PUYU_CALL(add, ctx, y, x);
}
void fill(Ctx& ctx, Tensor y, float value) {
  want(is_act(y), "fill", "f32 or bf16", {y});
  PUYU_CALL(fill, ctx, y, value);
}
void cast(Ctx& ctx, Tensor y, Tensor x) {
  want(is_act(y) && is_act(x) && y.numel() == x.numel(), "cast", "y, x of one shape", {y, x});
  PUYU_CALL(cast, ctx, y, x);
}
double sum_squares(Ctx& ctx, Tensor x) {
  want(is_act(x), "sum_squares", "f32 or bf16", {x});
  return PUYU_CALL(sum_squares, ctx, x);
}
void adamw(Ctx& ctx, Tensor w, Tensor copy, Tensor m, Tensor v, Tensor g, const AdamW& o) {
  want((w.dtype == DType::kF32 || (w.dtype == DType::kBF16 && !copy)) && m.dtype == DType::kF32 &&
           v.dtype == DType::kF32 && g.dtype == DType::kF32 && m.numel() == w.numel() && v.numel() == w.numel() &&
           g.numel() == w.numel() && (!copy || copy.numel() == w.numel()),
       "adamw", "m, v, g f32 of one shape, w f32 with a copy in bf16 or none, or bf16", {w, copy, m, v, g});
  PUYU_CALL(adamw, ctx, w, copy, m, v, g, o);
}

}  // namespace puyu
