#include "model/model.h"

#include <algorithm>

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
  Tensor x = arena.alloc(act, {T, c.hidden_size}), hidden = arena.alloc(act, {T, c.hidden_size});
  watch.enter(0, Use::kForward);
  embedding(ctx, x, m.tok_embeddings, ids);
  watch.leave(0, Use::kForward);
  if (pass) pass->layers.clear();
  int64_t part = 1;
  for (const auto& layer : m.layers) {
    Saved* s = pass ? &pass->layers.emplace_back(alloc_saved(arena, c, T, act, level)) : nullptr;
    watch.enter(part, Use::kForward);
    block_forward(ctx, c, layer, x, seqs, s);
    watch.leave(part++, Use::kForward);
  }
  Tensor rstd = pass ? arena.alloc(DType::kF32, {T}) : Tensor{};
  watch.enter(part, pass ? Use::kBackward : Use::kForward);
  rmsnorm(ctx, hidden, rstd, x, m.norm, static_cast<float>(c.rms_norm_eps));
  if (pass) pass->last = x, pass->rstd = rstd, pass->hidden = hidden;
  return hidden;
}

void model_backward(Ctx& ctx, Weights& w, Model<Tensor>& grads, Tensor dhidden, const int32_t* ids,
                    const Sequences& seqs, Pass& pass, Recompute level, PartWatch* watcher) {
  PartWatch& watch = or_unwatched(watcher);
  const ModelConfig& c = w.config;
  Model<Tensor>& m = w.use();
  ScratchScope scope(*ctx.scratch);
  Tensor dx = ctx.scratch->alloc(w.compute, {dhidden.shape[0], c.hidden_size});
  fill(ctx, dx, 0);
  rmsnorm_backward(ctx, dx, grads.norm, dhidden, pass.last, m.norm, pass.rstd);
  watch.leave(c.num_layers + 1, Use::kBackward);
  for (size_t i = m.layers.size(); i-- > 0;) {
    const auto part = static_cast<int64_t>(i) + 1;
    watch.enter(part, Use::kBackward);
    block_backward(ctx, c, m.layers[i], grads.layers[i], dx, seqs, pass.layers[i], level);
    watch.leave(part, Use::kBackward);
  }
  watch.enter(0, Use::kBackward);
  embedding_backward(ctx, grads.tok_embeddings, dx, ids);
  watch.leave(0, Use::kBackward);
}

}  // namespace puyu
