#include "model/block.h"

#include "tensor/device.h"

namespace puyu {

Saved alloc_saved(Arena& a, const ModelConfig& c, int64_t T, DType act, Recompute level, const Parallel& p) {
  const int64_t D = c.hidden_size, F = c.intermediate_size, Q = c.num_heads * c.hd(), rows = T / p.shards();
  Saved s;
  s.x = a.alloc(act, {rows, D});
  if (level == Recompute::kFull) return s;
  s.rstd1 = a.alloc(DType::kF32, {rows});
  s.qkv = a.alloc(act, {T, c.heads().row()});
  s.lse = a.alloc(DType::kF32, {T, c.num_heads});
  s.attn = a.alloc(act, {T, Q});
  s.mid = a.alloc(act, {rows, D});
  s.rstd2 = a.alloc(DType::kF32, {rows});
  s.gate = a.alloc(act, {T, F});
  s.up = a.alloc(act, {T, F});
  if (level == Recompute::kSelective) return s;
  s.act = a.alloc(act, {T, F});
  if (!p.keeps_gathered()) return s;
  s.h1 = a.alloc(act, {T, D});
  s.h2 = a.alloc(act, {T, D});
  return s;
}

namespace {

void attend(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads, const Sequences& seqs) {
  if (const auto* packed = std::get_if<PackedSeqs>(&seqs.layout)) return attention(ctx, o, lse, qkv, heads, *packed);
  if (const auto* shared = std::get_if<const SharedSeqs*>(&seqs.layout))
    return (*shared)->forward(ctx, o, lse, qkv, heads);
  const auto& paged = std::get<PagedSeqs>(seqs.layout);
  kv_append(ctx, qkv, heads, paged);
  attention(ctx, o, qkv, heads, paged);
}

void attend_backward(Ctx& ctx, Tensor dqkv, Tensor do_, const Saved& s, Heads heads, const Sequences& seqs) {
  if (const auto* shared = std::get_if<const SharedSeqs*>(&seqs.layout))
    return (*shared)->backward(ctx, dqkv, do_, s.attn, s.lse, s.qkv, heads);
  attention_backward(ctx, dqkv, do_, s.attn, s.lse, s.qkv, heads, std::get<PackedSeqs>(seqs.layout));
}

Tensor or_scratch(Ctx& ctx, Tensor t, DType dtype, int64_t rows, int64_t cols) {
  return t ? t : ctx.scratch->alloc(dtype, {rows, cols});
}

// h = norm(x): x and rstd of this rank's rows, h of all tokens, for the products that follow.
void norm_and_gather(Ctx& ctx, const Parallel& p, Tensor h, Tensor rstd, Tensor x, Tensor w, float eps) {
  rmsnorm(ctx, p.mine(h), rstd, x, w, eps);
  p.gather(h);
}

// out = residual + x w^T, where ranks hold columns of x and w: x of all tokens, out and residual of this rank's rows.
void linear_and_sum(Ctx& ctx, const Parallel& p, Tensor out, Tensor x, Tensor w, Tensor residual) {
  if (p.ranks() == 1) return linear(ctx, out, x, w, residual);
  ScratchScope scope(*ctx.scratch);
  Tensor part = ctx.scratch->alloc(out.dtype, {x.shape[0], out.shape[1]});
  linear(ctx, part, x, w);
  p.sum(part);
  copy_tensor(out, residual);
  add(ctx, out, p.mine(part));
}

// The block's arithmetic, from s.x to out. Tensors missing in s are scratch.
void forward(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& w, Tensor out, const Sequences& seqs, Saved& s) {
  const Parallel& p = *seqs.parallel;
  const int64_t rows = out.shape[0], T = rows * p.shards();
  const int64_t D = c.hidden_size, F = c.intermediate_size, Q = c.num_heads * c.hd();
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const DType act = out.dtype;
  ScratchScope scope(*ctx.scratch);

  Tensor h1 = or_scratch(ctx, s.h1, act, T, D);
  Tensor qkv = or_scratch(ctx, s.qkv, act, T, c.heads().row());
  Tensor attn = or_scratch(ctx, s.attn, act, T, Q);
  Tensor mid = or_scratch(ctx, s.mid, act, rows, D);
  norm_and_gather(ctx, p, h1, s.rstd1, s.x, w.attention_norm, eps);
  linear(ctx, qkv, h1, w.wqkv);
  if (c.qkv_bias) add_bias(ctx, qkv, w.wqkv_bias);
  add_lora(ctx, qkv, h1, seqs.lora, &Block<LoraPair>::wqkv);
  rope(ctx, qkv, seqs.positions, seqs.rope_table, c.heads());
  attend(ctx, attn, s.lse, qkv, c.heads(), seqs);
  linear_and_sum(ctx, p, mid, attn, w.wo, s.x);
  if (c.wo_bias) add_bias(ctx, mid, w.wo_bias);
  add_lora(ctx, mid, attn, seqs.lora, &Block<LoraPair>::wo);

  Tensor h2 = or_scratch(ctx, s.h2, act, T, D);
  Tensor gate = or_scratch(ctx, s.gate, act, T, F);
  Tensor up = or_scratch(ctx, s.up, act, T, F);
  Tensor a = or_scratch(ctx, s.act, act, T, F);
  norm_and_gather(ctx, p, h2, s.rstd2, mid, w.ffn_norm, eps);
  linear(ctx, gate, h2, w.w1);
  linear(ctx, up, h2, w.w3);
  add_lora(ctx, gate, h2, seqs.lora, &Block<LoraPair>::w1);
  add_lora(ctx, up, h2, seqs.lora, &Block<LoraPair>::w3);
  swiglu(ctx, a, gate, up);
  linear_and_sum(ctx, p, out, a, w.w2, mid);
  add_lora(ctx, out, a, seqs.lora, &Block<LoraPair>::w2);
}

// As gathered(), in memory that stays.
Tensor kept(const Parallel& p, Tensor dx, Arena& arena) {
  Tensor all = arena.alloc(dx.dtype, {dx.shape[0] * p.shards(), dx.shape[1]});
  copy_tensor(p.mine(all), dx);
  p.gather(all);
  return all;
}

Tensor zeros(Ctx& ctx, Arena& arena, int64_t n) {
  Tensor t = arena.alloc(DType::kF32, {n});
  fill(ctx, t, 0);
  return t;
}

}  // namespace

Tensor gathered(Ctx& ctx, const Parallel& p, Tensor dx) {
  if (!p.splits_tokens()) return dx;
  Tensor all = ctx.scratch->alloc(dx.dtype, {dx.shape[0] * p.shards(), dx.shape[1]});
  copy_tensor(p.mine(all), dx);
  p.gather(all);
  return all;
}

void block_forward(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& w, Tensor x, const Sequences& seqs,
                   Saved* saved) {
  Saved none;
  Saved& s = saved ? *saved : none;
  if (saved)
    copy_tensor(s.x, x, ctx.stream);
  else
    s.x = x;
  forward(ctx, c, w, x, seqs, s);
}

void block_backward(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& w, Block<Tensor>& g, Tensor dx,
                    const Sequences& seqs, Saved& saved, Recompute level, BlockLater* later) {
  const Parallel& p = *seqs.parallel;
  const int64_t rows = dx.shape[0], T = rows * p.shards(), D = c.hidden_size, F = c.intermediate_size;
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const DType act = dx.dtype;
  ScratchScope scope(*ctx.scratch);
  Arena& keep = later ? *later->arena : *ctx.scratch;

  Saved s = saved;
  if (level == Recompute::kFull) {
    s = alloc_saved(*ctx.scratch, c, T, act, Recompute::kNone, p);
    s.x = saved.x;
    if (later) {
      s.attn = keep.alloc(act, {T, c.num_heads * c.hd()}), s.act = keep.alloc(act, {T, F});
      s.h1 = keep.alloc(act, {T, D}), s.h2 = keep.alloc(act, {T, D});
    }
    ScratchScope inner(*ctx.scratch);
    Tensor out = ctx.scratch->alloc(act, {rows, D});
    forward(ctx, c, w, out, seqs, s);
  }

  // Feed-forward: out = mid + w2 (silu(w1 h2) * (w3 h2)), h2 = norm(mid). dx holds d out, becomes d mid.
  Tensor h2 = s.h2;
  if (!h2) norm_and_gather(ctx, p, h2 = keep.alloc(act, {T, D}), {}, s.mid, w.ffn_norm, eps);
  Tensor a = s.act;
  if (!a) swiglu(ctx, a = keep.alloc(act, {T, F}), s.gate, s.up);
  {
    ScratchScope inner(*ctx.scratch);
    Tensor da = ctx.scratch->alloc(act, {T, F}), dgate = keep.alloc(act, {T, F}), dup = keep.alloc(act, {T, F});
    Tensor dh = ctx.scratch->alloc(act, {T, D}), dout = later ? kept(p, dx, keep) : gathered(ctx, p, dx);
    if (!later) linear_dw(ctx, g.w2, dout, a);
    linear_dx(ctx, da, dout, w.w2);
    swiglu_backward(ctx, dgate, dup, da, s.gate, s.up);
    linear_dx(ctx, dh, dgate, w.w1);
    linear_dx(ctx, dh, dup, w.w3, true);
    p.start_sum(dh);
    if (!later) {
      linear_dw(ctx, g.w1, dgate, h2);
      linear_dw(ctx, g.w3, dup, h2);
    }
    p.finish_sum();
    if (later) later->dout = dout, later->act = a, later->dgate = dgate, later->dup = dup, later->h2 = h2;
    Tensor dnorm = later ? later->dffn_norm = zeros(ctx, keep, D) : g.ffn_norm;
    rmsnorm_backward(ctx, dx, dnorm, p.mine(dh), s.mid, w.ffn_norm, s.rstd2);
  }

  // Attention: mid = x + wo attention(rope(wqkv h1 + b)) + b, h1 = norm(x). dx holds d mid, becomes d x.
  Tensor h1 = s.h1;
  if (!h1) norm_and_gather(ctx, p, h1 = keep.alloc(act, {T, D}), {}, s.x, w.attention_norm, eps);
  Tensor dattn = ctx.scratch->alloc(act, {T, c.num_heads * c.hd()}), dqkv = keep.alloc(act, {T, c.heads().row()});
  Tensor dh = ctx.scratch->alloc(act, {T, D}), dmid = later ? kept(p, dx, keep) : gathered(ctx, p, dx);
  if (!later) {
    if (c.wo_bias) add_bias_backward(ctx, g.wo_bias, dx);
    linear_dw(ctx, g.wo, dmid, s.attn);
  }
  linear_dx(ctx, dattn, dmid, w.wo);
  attend_backward(ctx, dqkv, dattn, s, c.heads(), seqs);
  rope(ctx, dqkv, seqs.positions, seqs.rope_table, c.heads(), true);
  if (!later && c.qkv_bias) add_bias_backward(ctx, g.wqkv_bias, dqkv);
  linear_dx(ctx, dh, dqkv, w.wqkv);
  p.start_sum(dh);
  if (!later) linear_dw(ctx, g.wqkv, dqkv, h1);
  p.finish_sum();
  if (later)
    later->dmid = dmid, later->dmid_rows = p.mine(dmid), later->attn = s.attn, later->dqkv = dqkv, later->h1 = h1;
  Tensor dnorm = later ? later->dattention_norm = zeros(ctx, keep, D) : g.attention_norm;
  rmsnorm_backward(ctx, dx, dnorm, p.mine(dh), s.x, w.attention_norm, s.rstd1);
}

// The same products in the same order as above.
void block_backward_later(Ctx& ctx, const ModelConfig& c, Block<Tensor>& g, const BlockLater& l) {
  linear_dw(ctx, g.w2, l.dout, l.act);
  linear_dw(ctx, g.w1, l.dgate, l.h2);
  linear_dw(ctx, g.w3, l.dup, l.h2);
  add(ctx, g.ffn_norm, l.dffn_norm);
  if (c.wo_bias) add_bias_backward(ctx, g.wo_bias, l.dmid_rows);
  linear_dw(ctx, g.wo, l.dmid, l.attn);
  if (c.qkv_bias) add_bias_backward(ctx, g.wqkv_bias, l.dqkv);
  linear_dw(ctx, g.wqkv, l.dqkv, l.h1);
  add(ctx, g.attention_norm, l.dattention_norm);
}

}  // namespace puyu
