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

// x = this rank's rows of the embedding.
void embed_forward(Ctx& ctx, const Model<Tensor>& m, Tensor x, const int32_t* ids, int64_t T, const Sequences& seqs,
                   PartWatch& watch) {
  const Parallel& p = *seqs.parallel;
  watch.enter(0, Use::kForward);
  const Tensor table = m.tok_embeddings;
  if (p.ranks() == 1) {
    embedding(ctx, x, table, ids);
  } else {
    ScratchScope scope(*ctx.scratch);
    Tensor part = ctx.scratch->alloc(x.dtype, {T, x.shape[1]});
    embedding(ctx, part, table, own_ids(p, ids, T, table.shape[0]).data());
    p.sum(part);
    std::memcpy(x.data, p.mine(part).data, static_cast<size_t>(x.nbytes()));
  }
  watch.leave(0, Use::kForward);
}

void embed_backward(Ctx& ctx, Model<Tensor>& grads, Tensor dx, const int32_t* ids, const Sequences& seqs,
                    PartWatch& watch) {
  const Parallel& p = *seqs.parallel;
  watch.enter(0, Use::kBackward);
  const Tensor dtable = grads.tok_embeddings;
  if (p.ranks() == 1) {
    embedding_backward(ctx, dtable, dx, ids);
  } else {
    ScratchScope scope(*ctx.scratch);
    Tensor all = gathered(ctx, p, dx);
    embedding_backward(ctx, dtable, all, own_ids(p, ids, all.shape[0], dtable.shape[0]).data());
  }
  watch.leave(0, Use::kBackward);
}

void blocks_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, int64_t begin, int64_t end,
                    Tensor x, int64_t T, const Sequences& seqs, std::vector<Saved>* saved, Recompute level,
                    PartWatch& watch) {
  if (saved) saved->clear();
  for (int64_t i = begin; i < end; ++i) {
    Saved* s = saved ? &saved->emplace_back(alloc_saved(arena, c, T, x.dtype, level, *seqs.parallel)) : nullptr;
    watch.enter(i + 1, Use::kForward);
    block_forward(ctx, c, m.layers[static_cast<size_t>(i)], x, seqs, s);
    watch.leave(i + 1, Use::kForward);
  }
}

void blocks_backward(Ctx& ctx, const ModelConfig& c, const Model<Tensor>& m, Model<Tensor>& grads, int64_t end,
                     Tensor dx, const Sequences& seqs, std::vector<Saved>& saved, Recompute level,
                     std::vector<BlockLater>* later, PartWatch& watch) {
  const Use use = later ? Use::kInputs : Use::kBackward;
  for (size_t i = saved.size(); i-- > 0;) {
    const auto block = static_cast<size_t>(end) - saved.size() + i;
    const auto part = static_cast<int64_t>(block) + 1;
    watch.enter(part, use);
    block_backward(ctx, c, m.layers[block], grads.layers[block], dx, seqs, saved[i], level,
                   later ? &(*later)[i] : nullptr);
    watch.leave(part, use);
  }
}

void norm_forward(Ctx& ctx, const ModelConfig& c, const Model<Tensor>& m, Tensor hidden, Tensor rstd, Tensor x,
                  const Sequences& seqs, Use use, PartWatch& watch) {
  const Parallel& p = *seqs.parallel;
  watch.enter(c.num_layers + 1, use);
  rmsnorm(ctx, p.mine(hidden), rstd, x, m.norm, static_cast<float>(c.rms_norm_eps));
  p.gather(hidden);
}

void norm_backward(Ctx& ctx, const ModelConfig& c, const Model<Tensor>& m, Model<Tensor>& grads, Tensor dx,
                   Tensor dhidden, Tensor rstd, Tensor x, const Sequences& seqs, PartWatch& watch) {
  const Parallel& p = *seqs.parallel;
  fill(ctx, dx, 0);
  p.sum(dhidden);
  rmsnorm_backward(ctx, dx, grads.norm, p.mine(dhidden), x, m.norm, rstd);
  watch.leave(c.num_layers + 1, Use::kBackward);
}

Tensor model_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, DType act,
                     const int32_t* ids, int64_t T, const Sequences& seqs, Pass* pass, Recompute level,
                     PartWatch* watcher) {
  PartWatch& watch = or_unwatched(watcher);
  const Parallel& p = *seqs.parallel;
  const int64_t rows = T / p.shards();
  CHECK(rows * p.shards() == T);
  Tensor x = arena.alloc(act, {rows, c.hidden_size}), hidden = arena.alloc(act, {T, c.hidden_size});
  embed_forward(ctx, m, x, ids, T, seqs, watch);
  blocks_forward(ctx, arena, c, m, 0, static_cast<int64_t>(m.layers.size()), x, T, seqs, pass ? &pass->layers : nullptr,
                 level, watch);
  Tensor rstd = pass ? arena.alloc(DType::kF32, {rows}) : Tensor{};
  norm_forward(ctx, c, m, hidden, rstd, x, seqs, pass ? Use::kBackward : Use::kForward, watch);
  if (pass) pass->last = x, pass->rstd = rstd, pass->hidden = hidden;
  return hidden;
}

void model_backward(Ctx& ctx, Weights& w, Model<Tensor>& grads, Tensor dhidden, const int32_t* ids,
                    const Sequences& seqs, Pass& pass, Recompute level, PartWatch* watcher) {
  PartWatch& watch = or_unwatched(watcher);
  const ModelConfig& c = w.config;
  Model<Tensor>& m = w.use();
  ScratchScope scope(*ctx.scratch);
  Tensor dx = ctx.scratch->alloc(w.compute, {pass.last.shape[0], c.hidden_size});
  norm_backward(ctx, c, m, grads, dx, dhidden, pass.rstd, pass.last, seqs, watch);
  blocks_backward(ctx, c, m, grads, static_cast<int64_t>(m.layers.size()), dx, seqs, pass.layers, level, nullptr,
                  watch);
  embed_backward(ctx, grads, dx, ids, seqs, watch);
}

}  // namespace puyu
