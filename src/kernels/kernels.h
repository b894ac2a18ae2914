// The kernel seam: everything that computes on tensors, as free functions on views. kernels.cc checks shapes and dtypes
// once and switches on ctx.device; cpu/ and cuda/ do the work; ref/ is the scalar truth that tests compare with.
//
// Conventions. Tokens are flat: activations are [T, D], T = all tokens of all sequences. "act" dtype is f32 or bf16 and
// equal for all activations of a call; sums run in f32. Weight gradients are f32 and accumulate (+=); activation
// gradients are written (=) unless the comment says +=. No kernel allocates: scratch comes from ctx.scratch.
// Every output row depends on its own input row alone, in one fixed order of additions, so a result does not depend on
// what else is in the batch (DESIGN invariants; docs/math.md has the derivations).
#pragma once
#include <cstdint>

#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace puyu {

struct Ctx {
  Device device = Device::kCpu;
  Arena* scratch = nullptr;  // on the same device
  // On a GPU: where work is queued (tensor/device.h). Small arrays (ids, positions …) may be the CPU's or the GPU's;
  // those of the GPU are not looked at, so that calls can be captured in a graph.
  void* stream = nullptr;
  // A row's bits do not depend on its batch: always so on the CPU; on a GPU it costs speed (docs/benchmarks/gpu.md).
  // Without it they are the same from run to run, for the same shapes.
  bool batch_invariant = false;
};

// Heads of one attention layer. qkv rows are [KV][G + 2][HD]: per kv head its G query heads, then k, then v
// (InternLM2's interleaved wqkv; LLaMA weights are put in this order when loaded).
struct Heads {
  int64_t q = 0, kv = 0, dim = 0;
  int64_t group() const { return q / kv; }
  int64_t row() const { return (q + 2 * kv) * dim; }  // width of a qkv row
};

// Sequences packed one after the other: sequence i is tokens [cu[i], cu[i+1]) and sees only itself; a token sees what
// stands before it and itself, or without `causal` the whole sequence (encoders).
struct PackedSeqs {
  const int32_t* cu = nullptr;  // [n + 1]
  int64_t n = 0;
  int64_t max_len = 0;
  bool causal = true;
};

// Sequences whose keys and values live in pages of kPage tokens. Sequence i brings new tokens [cu[i], cu[i+1]) that
// stand at positions past[i], past[i]+1, …; key position p is in page table[i * max_pages + p / kPage].
inline constexpr int64_t kPage = 64;  // also attention's key tile, so tiles align with absolute positions
// A quantised key or value of one head: scale and zero in f32, then HD numbers of 8 or 4 bits. x = zero + scale q, zero
// the least element and scale (max - min) / (2^bits - 1), after RoPE: no calibration (LMDeploy's kv int8 and int4).
constexpr int64_t kv_row_bytes(int64_t head_dim, int bits) { return 8 + head_dim * bits / 8; }
struct PagedSeqs {
  const int32_t* cu = nullptr;     // [n + 1]
  const int32_t* past = nullptr;   // [n] tokens in the pages before this call
  const int32_t* table = nullptr;  // [n, max_pages]
  int64_t n = 0, max_pages = 0;
  // act [pages, KV, kPage, HD], or u8 [pages, KV, kPage, kv_row_bytes(HD, bits)]
  Tensor k_pages, v_pages;
};

// y[t] = table[ids[t]]; zeros for the id -1: a token whose row another rank holds.   y: act [T, D]  table: act [V, D]
void embedding(Ctx&, Tensor y, Tensor table, const int32_t* ids);
// dtable[ids[t]] += dy[t], tokens in order; nothing for the id -1.   dtable: f32 [V, D]
void embedding_backward(Ctx&, Tensor dtable, Tensor dy, const int32_t* ids);

// y = w * x * rstd, rstd = 1 / sqrt(mean(x^2) + eps).   x, y: act [T, D]  w: act [D]  rstd: f32 [T] or none
void rmsnorm(Ctx&, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps);
// dx += , dw += : dx already holds the residual path's gradient.
void rmsnorm_backward(Ctx&, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd);

// y = x w^T (+ residual).   x: [M, K]  w: [N, K] plain or packed  y: [M, N] act or f32  residual: as y or none, may be
// y. With w int8 (pack_weight_int8) each row of x is quantised as it comes: W8A8.
void linear(Ctx&, Tensor y, Tensor x, Tensor w, Tensor residual = {});
// dx = dy w (or += with accumulate).   dy: [M, N]  w: [N, K]  dx: [M, K]
void linear_dx(Ctx&, Tensor dx, Tensor dy, Tensor w, bool accumulate = false);
// dw += dy^T x.   dw: f32 [N, K]
void linear_dw(Ctx&, Tensor dw, Tensor dy, Tensor x);
// y[t] += b.   y: act [T, N]  b: act [N]
void add_bias(Ctx&, Tensor y, Tensor b);
// db += sum_t dy[t], tokens in order.   db: f32 [N]
void add_bias_backward(Ctx&, Tensor db, Tensor dy);
// Bytes and order of a weight packed once for many small products (decode). dst: u8 [packed_weight_bytes].
int64_t packed_weight_bytes(const Ctx&, Tensor w);
Tensor pack_weight(Ctx&, void* dst, Tensor w);

// x[m] = scale[m] q[m] nearly: scale = max |x[m]| / 127, q rounded to the nearest (even on ties); a row of zeros has
// scale 0.   x: act [M, K]  q: i8 [M, K]  scale: f32 [M]
void quantize_rows(Ctx&, Tensor q, Tensor scale, Tensor x);
// A weight of int8 with one scale an output row, for linear().   q: i8 [N, K]  scale: f32 [N]
// dst: u8 [packed_weight_bytes(q)]. Sums of products are exact integers.
Tensor pack_weight_int8(Ctx&, void* dst, Tensor q, Tensor scale);

// w[n, k] = scale[n, k / 128] (q[n, k] - zero[n, k / 128]) nearly, q and zero in 0 … 15: each group's range, which
// holds 0, in 15 steps, rounded to the nearest.   w: act [N, K]  q: u8 [N, K]  scale, zero: f32 [N, ceil(K / 128)]
inline constexpr int64_t kQuantGroup = 128;
void quantize_groups(Ctx&, Tensor q, Tensor scale, Tensor zero, Tensor w);
// A weight of 4 bits for linear(): with x of type `act`, f32 or bf16, W4A16: numbers become act as they are used. With
// act int8, W4A8: each group of 128 of a row of x is quantised as it comes (scale max |x| / 127), products are
// integers. dst: u8 [packed_int4_bytes(N, K, act)]
int64_t packed_int4_bytes(const Ctx&, int64_t N, int64_t K, DType act);
Tensor pack_weight_int4(Ctx&, void* dst, Tensor q, Tensor scale, Tensor zero, DType act);

// Rotates q and k of each row in place by its position (rotate-half form). table: f32 [max_pos, HD]: HD/2 cosines, then
// HD/2 sines. inverse = the backward pass.   qkv: act [T, heads.row()]
void rope(Ctx&, Tensor qkv, const int32_t* positions, Tensor table, Heads heads, bool inverse = false);

// o = softmax(q k^T / sqrt(HD), causal or all) v.   o: act [T, H*HD]  lse: f32 [T, H] log-sum-exp of the scores, or
// none
void attention(Ctx&, Tensor o, Tensor lse, Tensor qkv, Heads heads, const PackedSeqs& seqs);
void attention_backward(Ctx&, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads,
                        const PackedSeqs& seqs);
// Attention whose keys come in parts, because other ranks have them (ring attention, Liu et al. 2023): a span is a run
// of queries of one sequence and a run of its keys, of which query i sees the first min(keys, first + 1 + i). Spans of
// a call share neither queries nor keys, and no span has a key that nobody sees: keys <= first + queries.
struct AttentionSpan {
  int64_t q, queries, k, keys, first;
};
inline constexpr float kNoKeys = -3e38f;  // lse of a row that has seen no key yet; its o is 0
// o and lse become those of the keys seen so far and of these: the parts of a softmax, merged by their log-sum-exp.
//   o: f32 [T, H*HD]  lse: f32 [T, H]  qkv: act [T, heads.row()], of which q is read  kv: act [S, KV*2*HD], k then v
void attention_part(Ctx&, Tensor o, Tensor lse, Tensor qkv, Tensor kv, Heads heads, const AttentionSpan* spans,
                    int64_t n);
// What these keys add to the gradients, o and lse being those of all keys.
//   dq: f32 [T, H*HD] +=  dkv: f32 [S, KV*2*HD] +=  do_, o: act [T, H*HD]
void attention_part_backward(Ctx&, Tensor dq, Tensor dkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Tensor kv,
                             Heads heads, const AttentionSpan* spans, int64_t n);
// Writes k and v of the new tokens to their pages; attention then reads all keys from the pages.
void kv_append(Ctx&, Tensor qkv, Heads heads, const PagedSeqs& seqs);
void attention(Ctx&, Tensor o, Tensor qkv, Heads heads, const PagedSeqs& seqs);

// y = silu(gate) * up.   all act [T, F]
void swiglu(Ctx&, Tensor y, Tensor gate, Tensor up);
// dgate, dup may be gate, up (in place).
void swiglu_backward(Ctx&, Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up);

// logp[t] = log softmax(x[t] w^T)[target[t]]; target < 0: logp = 0 and no gradient. With coef (f32 [T]) also the
// gradient of L = sum_t coef[t] * logp[t]: dx = dL/dx, dw += dL/dw. Logits exist for one chunk of tokens at a time.
//   x: act [T, D]  w: act [V, D]  logp: f32 [T]  entropy: f32 [T] or none  correct: i32 [T] (argmax == target) or none
struct CrossEntropyOut {
  Tensor logp, entropy, correct;
};
void fused_cross_entropy(Ctx&, const CrossEntropyOut& out, Tensor dx, Tensor dw, Tensor x, Tensor w,
                         const int32_t* target, const float* coef);

// logp[t] = log softmax(logits[t])[target[t]], the same bits as fused_cross_entropy's.   logits: f32 [T, V]  logp: f32
// [T]
void target_logp(Ctx&, Tensor logp, Tensor logits, const int32_t* target);

// The two halves of a softmax whose columns lie on several ranks (train/vocab_parallel.h). What the others must know:
//   parts[t] = {m, sum_v exp(logits[t, v] - m), logits[t, target[t]]}, m = max_v logits[t, v]
// The last is -3e38 when target[t] is not in [0, V).   logits: f32 [T, V]  parts: f32 [T, 3]
void softmax_parts(Ctx&, Tensor parts, Tensor logits, const int32_t* target);
// grad[t, v] = coef[t] ((v == target[t]) - exp(logits[t, v] - lse[t])).   grad: act [T, V]  lse: f32 [T]
void softmax_backward(Ctx&, Tensor grad, Tensor logits, Tensor lse, const int32_t* target, const float* coef);

// y[i] = x[index[i]].   x: [T, D]  y: [n, D]
void gather_rows(Ctx&, Tensor y, Tensor x, const int32_t* index);
// y[index[i]] += x[i]; indices distinct.
void scatter_add_rows(Ctx&, Tensor y, Tensor x, const int32_t* index);
void add(Ctx&, Tensor y, Tensor x);  // y += x
void fill(Ctx&, Tensor y, float value);
void cast(Ctx&, Tensor y, Tensor x);  // between f32 and bf16
// Sum of squares in double over fixed pieces: the same bits for any number of threads.
double sum_squares(Ctx&, Tensor x);

// Decoupled weight decay Adam (Loshchilov & Hutter 2019), bias-corrected.   w, m, v, g: f32, copy: bf16 or none
//   g' = grad_scale * g;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2;  w -= lr (m^ / (sqrt(v^) + eps) + wd w)
// Where w itself is bf16 (no copy then), w[i] is rounded stochastically: by random_bits(rounding_key, first + i), so
// the result does not depend on how a tensor is cut into pieces.
struct AdamW {
  float lr, beta1, beta2, eps, weight_decay, grad_scale;
  int64_t step;  // 1 for the first update
  uint64_t rounding_key = 0;
  uint32_t first = 0;
};
void adamw(Ctx&, Tensor w, Tensor copy, Tensor m, Tensor v, Tensor g, const AdamW& o);

}  // namespace puyu
