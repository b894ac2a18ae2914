#include "model/model.h"

#include <algorithm>
#include <cstring>

namespace puyu {

void Batch::add(const int32_t* tokens, int64_t n) {
  ids.insert(ids.end(), tokens, tokens + n);
  for (int64_t i = 0; i < n; ++i) positions.push_back(static_cast<int32_t>(i));
  cu.push_back(static_cast<int32_t>(ids.size()));
  max_len = std::max(max_len, n);
}

namespace {

// Watches nothing.
class Unwatched final : public PartWatch {
 public:
  void enter(int64_t, Use) override {}
  void leave(int64_t, Use) override {}
};

PartWatch& or_unwatched(PartWatch* watch) {
  static Unwatched none;
  return watch ? *watch : none;
}

// Ids as rows of this rank's share of the vocabulary; -1 where another rank has the row.
std::vector<int32_t> own_ids(const Parallel& p, const int32_t* ids, int64_t T, int64_t share) {
  std::vector<int32_t> out(ids, ids + T);
  for (int32_t& id : out) {
    CHECK(id >= 0 && id < share * p.ranks(), "token id outside the vocabulary");
    id -= static_cast<int32_t>(p.rank() * share);
    if (id < 0 || id >= share) id = -1;
  }
  return out;
}

// x = this rank's rows of the embedding.
void embed(Ctx& ctx, const Parallel& p, Tensor x, Tensor table, const int32_t* ids, int64_t T) {
  if (p.ranks() == 1) return embedding(ctx, x, table, ids);
  ScratchScope scope(*ctx.scratch);
  Tensor part = ctx.scratch->alloc(x.dtype, {T, x.shape[1]});
  embedding(ctx, part, table, own_ids(p, ids, T, table.shape[0]).data());
  p.sum(part);
  std::memcpy(x.data, p.mine(part).data, static_cast<size_t>(x.nbytes()));
}

void embed_backward(Ctx& ctx, const Parallel& p, Tensor dtable, Tensor dx, const int32_t* ids) {
  if (p.ranks() == 1) return embedding_backward(ctx, dtable, dx, ids);
  Tensor all = gathered(ctx, p, dx);
  embedding_backward(ctx, dtable, all, own_ids(p, ids, all.shape[0], dtable.shape[0]).data());
}

}  // namespace

void walk_parts(PartWatch& watch, const ModelConfig& c, bool backward) {
  const int64_t head = c.num_layers + 1;
  for (int64_t p = 0; p < head; ++p) watch.enter(p, Use::kForward), watch.leave(p, Use::kForward);
  const Use use = backward ? Use::kBackward : Use::kForward;
  watch.enter(head, use), watch.leave(head, use);
  for (int64_t p = head; backward && p-- > 0;) watch.enter(p, use), watch.leave(p, use);
}

Tensor model_forward(Ctx& ctx, Arena& arena, Weights& w, const int32_t* ids, int64_t T, const Sequences& seqs,
                     Pass* pass, Recompute level, PartWatch* watch) {
  return model_forward(ctx, arena, w.config, w.use(), w.compute, ids, T, seqs, pass, level, watch);
}

Tensor model_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, DType act,
                     const int32_t* ids, int64_t T, const Sequences& seqs, Pass* pass, Recompute level,
                     PartWatch* watcher) {
  PartWatch& watch = or_unwatched(watcher);
  const Parallel& p = *seqs.parallel;
  const int64_t rows = T / p.shards();
  CHECK(rows * p.shards() == T);
  Tensor x = arena.alloc(act, {rows, c.hidden_size}), hidden = arena.alloc(act, {T, c.hidden_size});
  watch.enter(0, Use::kForward);
  embed(ctx, p, x, m.tok_embeddings, ids, T);
  watch.leave(0, Use::kForward);
  if (pass) pass->layers.clear();
  int64_t part = 1;
  for (const auto& layer : m.layers) {
    Saved* s = pass ? &pass->layers.emplace_back(alloc_saved(arena, c, T, act, level, p)) : nullptr;
    watch.enter(part, Use::kForward);
    block_forward(ctx, c, layer, x, seqs, s);
    watch.leave(part++, Use::kForward);
  }
  Tensor rstd = pass ? arena.alloc(DType::kF32, {rows}) : Tensor{};
  watch.enter(part, pass ? Use::kBackward : Use::kForward);
  rmsnorm(ctx, p.mine(hidden), rstd, x, m.norm, static_cast<float>(c.rms_norm_eps));
  p.gather(hidden);
  if (pass) pass->last = x, pass->rstd = rstd, pass->hidden = hidden;
  return hidden;
}

void model_backward(Ctx& ctx, Weights& w, Model<Tensor>& grads, Tensor dhidden, const int32_t* ids,
                    const Sequences& seqs, Pass& pass, Recompute level, PartWatch* watcher) {
  PartWatch& watch = or_unwatched(watcher);
  const ModelConfig& c = w.config;
  Model<Tensor>& m = w.use();
  const Parallel& p = *seqs.parallel;
  ScratchScope scope(*ctx.scratch);
  Tensor dx = ctx.scratch->alloc(w.compute, {pass.last.shape[0], c.hidden_size});
  fill(ctx, dx, 0);
  p.sum(dhidden);
  rmsnorm_backward(ctx, dx, grads.norm, p.mine(dhidden), pass.last, m.norm, pass.rstd);
  watch.leave(c.num_layers + 1, Use::kBackward);
  for (size_t i = m.layers.size(); i-- > 0;) {
    const auto part = static_cast<int64_t>(i) + 1;
    watch.enter(part, Use::kBackward);
    block_backward(ctx, c, m.layers[i], grads.layers[i], dx, seqs, pass.layers[i], level);
    watch.leave(part, Use::kBackward);
  }
  watch.enter(0, Use::kBackward);
  embed_backward(ctx, p, grads.tok_embeddings, dx, ids);
  watch.leave(0, Use::kBackward);
}

}  // namespace puyu
