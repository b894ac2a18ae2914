#include "model/model.h"

#include <algorithm>

namespace puyu {

void Batch::add(const int32_t* tokens, int64_t n) {
  ids.insert(ids.end(), tokens, tokens + n);
  for (int64_t i = 0; i < n; ++i) positions.push_back(static_cast<int32_t>(i));
  cu.push_back(static_cast<int32_t>(ids.size()));
  max_len = std::max(max_len, n);
}

Tensor model_forward(Ctx& ctx, Arena& arena, Weights& w, const int32_t* ids, int64_t T, const Sequences& seqs,
                     Pass* pass, Recompute level) {
  return model_forward(ctx, arena, w.config, w.use(), w.compute, ids, T, seqs, pass, level);
}

Tensor model_forward(Ctx& ctx, Arena& arena, const ModelConfig& c, const Model<Tensor>& m, DType act,
                     const int32_t* ids, int64_t T, const Sequences& seqs, Pass* pass, Recompute level) {
  Tensor x = arena.alloc(act, {T, c.hidden_size}), hidden = arena.alloc(act, {T, c.hidden_size});
  embedding(ctx, x, m.tok_embeddings, ids);
  if (pass) pass->layers.clear();
  for (const auto& layer : m.layers) {
    Saved* s = pass ? &pass->layers.emplace_back(alloc_saved(arena, c, T, act, level)) : nullptr;
    block_forward(ctx, c, layer, x, seqs, s);
  }
  Tensor rstd = pass ? arena.alloc(DType::kF32, {T}) : Tensor{};
  rmsnorm(ctx, hidden, rstd, x, m.norm, static_cast<float>(c.rms_norm_eps));
  if (pass) pass->last = x, pass->rstd = rstd, pass->hidden = hidden;
  return hidden;
}

void model_backward(Ctx& ctx, Weights& w, Model<Tensor>& grads, Tensor dhidden, const int32_t* ids,
                    const Sequences& seqs, Pass& pass, Recompute level) {
  const ModelConfig& c = w.config;
  Model<Tensor>& m = w.use();
  ScratchScope scope(*ctx.scratch);
  Tensor dx = ctx.scratch->alloc(w.compute, {dhidden.shape[0], c.hidden_size});
  fill(ctx, dx, 0);
  rmsnorm_backward(ctx, dx, grads.norm, dhidden, pass.last, m.norm, pass.rstd);
  for (size_t i = m.layers.size(); i-- > 0;)
    block_backward(ctx, c, m.layers[i], grads.layers[i], dx, seqs, pass.layers[i], level);
  embedding_backward(ctx, grads.tok_embeddings, dx, ids);
}

}  // namespace puyu
