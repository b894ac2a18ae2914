#include "train/sequence_parallel.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "train/isp.h"

namespace puyu {
namespace {

Heads share_of_heads(Heads h, const Comm* heads) {
  if (heads) h.q /= heads->size(), h.kv /= heads->size();
  return h;
}

// One number a rank and row in a message: rows of one rank begin at a multiple of 64, and so at the border of its
// piece.
int64_t padded(int64_t n) { return (n + 63) / 64 * 64; }

// The sequences of one micro-batch.
class SharedRows final : public SharedSeqs {
 public:
  SharedRows(const Batch& b, Comm& ring, Comm* heads, double& waited)
      : cu_(b.cu), max_len_(b.max_len), ring_(ring), heads_(heads), wait_seconds_(waited) {
    if (ring.size() > 1) plan_ = plan_ring(cu_, {b.tokens(), ring.size()}, ring.rank());
  }
  void forward(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads) const override;
  void backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads) const override;

 private:
  PackedSeqs packed() const { return {cu_.data(), static_cast<int64_t>(cu_.size()) - 1, max_len_}; }
  void attend(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads) const;
  void attend_backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads) const;

  std::vector<int32_t> cu_;
  int64_t max_len_;
  Comm& ring_;
  Comm* heads_;  // none: not isp
  RingPlan plan_;
  double& wait_seconds_;
};

void SharedRows::attend(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads) const {
  if (ring_.size() > 1) {
    wait_seconds_ += ring_attention(ctx, ring_, plan_, o, lse, qkv, heads);
    return;
  }
  attention(ctx, o, lse, qkv, heads, packed());
}

void SharedRows::attend_backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv,
                                 Heads heads) const {
  if (ring_.size() > 1) {
    wait_seconds_ += ring_attention_backward(ctx, ring_, plan_, dqkv, do_, o, lse, qkv, heads);
    return;
  }
  attention_backward(ctx, dqkv, do_, o, lse, qkv, heads, packed());
}

// What is kept for the backward pass is q, k and v as the attention saw them, in the place of the rank's rows: they are
// as many bytes, and are not sent again.
void SharedRows::forward(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads) const {
  if (!heads_) return attend(ctx, o, lse, qkv, heads);
  ScratchScope scope(*ctx.scratch);
  const Heads own = share_of_heads(heads, heads_);
  const int64_t T = qkv.shape[0] * heads_->size();
  const Tensor all = ctx.scratch->alloc(qkv.dtype, {T, own.row()}),
               out = ctx.scratch->alloc(o.dtype, {T, own.q * own.dim});
  wait_seconds_ += to_heads(ctx, *heads_, all, qkv);
  attend(ctx, out, lse ? lse.view(T, own.q) : lse, all, own);
  wait_seconds_ += to_rows(ctx, *heads_, o, out);
  if (lse) std::memcpy(qkv.data, all.data, static_cast<size_t>(qkv.nbytes()));
}

// o is sent a second time rather than kept twice.
void SharedRows::backward(Ctx& ctx, Tensor dqkv, Tensor do_, Tensor o, Tensor lse, Tensor qkv, Heads heads) const {
  if (!heads_) return attend_backward(ctx, dqkv, do_, o, lse, qkv, heads);
  ScratchScope scope(*ctx.scratch);
  const Heads own = share_of_heads(heads, heads_);
  const int64_t T = qkv.shape[0] * heads_->size(), Q = own.q * own.dim;
  const Tensor dall = ctx.scratch->alloc(dqkv.dtype, {T, own.row()});
  {
    ScratchScope inner(*ctx.scratch);
    const Tensor dout = ctx.scratch->alloc(do_.dtype, {T, Q}), out = ctx.scratch->alloc(o.dtype, {T, Q});
    wait_seconds_ += to_heads(ctx, *heads_, dout, do_);
    wait_seconds_ += to_heads(ctx, *heads_, out, o);
    attend_backward(ctx, dall, dout, out, lse.view(T, own.q), qkv.view(T, own.row()), own);
  }
  wait_seconds_ += to_rows(ctx, *heads_, dqkv, dall);
}

}  // namespace

SequenceParallel::SequenceParallel(const Ranks& ranks)
    : all_(ranks.sequence()), ring_(ranks.context()), heads_(ranks.isp() ? &ranks.tensor() : nullptr) {
  CHECK(all_.size() == ring_.size() * (heads_ ? heads_->size() : 1));
}

int64_t SequenceParallel::token_unit(int64_t unit) const {
  if (heads_) unit = std::lcm(unit, int64_t{heads_->size()});
  return ring_.size() == 1 ? unit : ring_.size() * std::lcm(unit, int64_t{2});
}

int64_t SequenceParallel::token(int64_t tokens, int rank, int64_t row) const {
  const Zigzag z{tokens, ring_.size()};
  const int heads = heads_ ? heads_->size() : 1;
  return z.token(rank / heads, rank % heads * (z.rows() / heads) + row);
}

SequenceParallel::Rows SequenceParallel::take(const Batch& b, std::span<const int32_t> target,
                                              std::span<const float> coef) const {
  const int64_t T = b.tokens(), unit = token_unit(1);
  CHECK(unit > 0 && T % unit == 0 && target.size() == b.ids.size() && (coef.empty() || coef.size() == target.size()));
  Rows out;
  for (int64_t r = 0; r < T / all_.size(); ++r) {
    const auto t = static_cast<size_t>(token(T, all_.rank(), r));
    out.batch.ids.push_back(b.ids[t]), out.batch.positions.push_back(b.positions[t]);
    out.target.push_back(target[t]);
    if (!coef.empty()) out.coef.push_back(coef[t]);
  }
  out.seqs = std::make_unique<SharedRows>(b, ring_, heads_, wait_seconds_);
  out.batch.max_len = b.max_len, out.batch.shared = out.seqs.get();
  return out;
}

TokenResults SequenceParallel::put_together(const TokenResults& mine) const {
  const auto rows = static_cast<int64_t>(mine.logp.size());
  const int64_t width = padded(2 * rows), ranks = all_.size();
  std::vector<float> message(static_cast<size_t>(width * ranks));
  float* own = message.data() + width * all_.rank();
  for (size_t r = 0; r < mine.logp.size(); ++r) {
    own[r] = mine.logp[r];
    own[mine.logp.size() + r] = mine.correct[r] != 0;
  }
  all_.all_gather(make_view(message.data(), width * ranks));
  TokenResults out;
  out.logp.resize(static_cast<size_t>(rows * ranks)), out.correct.resize(out.logp.size());
  for (int rank = 0; rank < all_.size(); ++rank)
    for (int64_t r = 0; r < rows; ++r) {
      const auto t = static_cast<size_t>(token(rows * ranks, rank, r));
      const float* of_rank = message.data() + width * rank;
      out.logp[t] = of_rank[r], out.correct[t] = of_rank[rows + r] != 0;
    }
  return out;
}

}  // namespace puyu
