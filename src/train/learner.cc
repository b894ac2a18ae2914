#include "train/learner.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory

void each_flat(Weights& w, Model<Tensor>& m, const std::function<void(Tensor, Spec)>& f) {
  m.each(w.config, w.head, [&](const std::string&, Tensor& t, Spec s, int64_t) { f(t, s); });
}

}  // namespace

Learner::Learner(Weights weights, OptimizerOptions options, Recompute recompute, bool trainable)
    : w_(std::move(weights)), options_(options), recompute_(recompute) {
  if (trainable) {
    grads_ = make_tensor_set("gradients", w_.config, w_.head, DType::kF32);
    m_ = make_tensor_set("adam m", w_.config, w_.head, DType::kF32);
    v_ = make_tensor_set("adam v", w_.config, w_.head, DType::kF32);
  }
  activations_ = std::make_unique<Arena>("activations", kReserve);
  scratch_ = std::make_unique<Arena>("scratch", kReserve);
  ctx_ = {Device::kCpu, scratch_.get()};
  w_.refresh_copy(ctx_);
}

void Learner::set_rope_theta(double theta) { w_.config.rope_theta = theta; }

Sequences Learner::sequences(const Batch& b) {
  const int64_t need = b.max_len, have = rope_table_ ? rope_table_.shape[0] : 0;
  if (need > w_.config.max_position)
    fail("[train] a sequence of ", need, " tokens is longer than the model's max_position ", w_.config.max_position);
  if (need > have || rope_theta_ != w_.config.rope_theta) {
    const int64_t rows = std::min(w_.config.max_position, std::max<int64_t>(need, 2 * have));
    rope_theta_ = w_.config.rope_theta;
    tables_ = std::make_unique<Arena>("rope", rows * w_.config.hd() * 4 + 4096);
    rope_table_ = make_rope_table(*tables_, w_.config, rows);
  }
  return b.sequences(rope_table_);
}

Tensor Learner::forward(const Batch& b, Pass* pass) {
  return model_forward(ctx_, *activations_, w_, b.ids.data(), b.tokens(), sequences(b), pass, recompute_);
}

LmSums Learner::accumulate_lm(const Batch& b, std::span<const int32_t> target, std::span<const float> coef) {
  return accumulate(b, target, coef, nullptr);
}
LmSums Learner::accumulate_lm(const Batch& b, std::span<const int32_t> target, const CoefFn& f) {
  return accumulate(b, target, {}, &f);
}

LmSums Learner::accumulate(const Batch& b, std::span<const int32_t> target, std::span<const float> coef,
                           const CoefFn* f) {
  const int64_t T = b.tokens();
  CHECK(static_cast<int64_t>(target.size()) == T && (f || static_cast<int64_t>(coef.size()) == T) && grads_.arena);
  ScratchScope scope(*activations_);
  Pass pass;
  Tensor h = forward(b, &pass), dh = activations_->alloc(w_.compute, {T, w_.config.hidden_size});
  Tensor logp = activations_->alloc(DType::kF32, {T}), correct = activations_->alloc(DType::kI32, {T});
  std::vector<float> computed;
  if (f) {
    fused_cross_entropy(ctx_, {logp, {}, {}}, {}, {}, h, w_.output(), target.data(), nullptr);
    computed.resize(static_cast<size_t>(T));
    (*f)({logp.as<float>(), static_cast<size_t>(T)}, computed);
    coef = computed;
  }
  Model<Tensor>& g = grads_.tensors;
  fused_cross_entropy(ctx_, {logp, {}, correct}, dh, w_.config.tie_embeddings ? g.tok_embeddings : g.output, h,
                      w_.output(), target.data(), coef.data());
  model_backward(ctx_, w_, g, dh, b.ids.data(), sequences(b), pass, recompute_);
  LmSums s;
  for (int64_t t = 0; t < T; ++t) {
    if (target[t] < 0) continue;
    s.logp += static_cast<double>(logp.as<float>()[t]);
    s.correct += correct.as<int32_t>()[t];
    ++s.tokens;
  }
  return s;
}

LmSums Learner::logprobs(const Batch& b, std::span<const int32_t> target, std::span<float> out,
                         std::span<float> entropy) {
  CHECK(static_cast<int64_t>(target.size()) == b.tokens() && out.size() == target.size());
  ScratchScope scope(*activations_);
  const int64_t T = b.tokens();
  Tensor h = forward(b, nullptr), correct = activations_->alloc(DType::kI32, {T});
  Tensor ent = entropy.empty() ? Tensor{} : make_view(entropy.data(), T);
  fused_cross_entropy(ctx_, {make_view(out.data(), T), ent, correct}, {}, {}, h, w_.output(), target.data(), nullptr);
  LmSums s;
  for (int64_t t = 0; t < T; ++t) {
    if (target[t] < 0) continue;
    s.logp += static_cast<double>(out[t]);
    if (ent) s.entropy += static_cast<double>(entropy[t]);
    s.correct += correct.as<int32_t>()[t];
    ++s.tokens;
  }
  return s;
}

void Learner::values(const Batch& b, std::span<float> out) {
  CHECK(w_.head == Head::kValue && static_cast<int64_t>(out.size()) == b.tokens());
  ScratchScope scope(*activations_);
  linear(ctx_, make_view(out.data(), b.tokens(), 1), forward(b, nullptr), w_.output());
}

void Learner::accumulate_values(const Batch& b, const CoefFn& f, const SideLoss* side) {
  CHECK(w_.head == Head::kValue && grads_.arena);
  ScratchScope scope(*activations_);
  Pass pass;
  const int64_t T = b.tokens();
  Tensor h = forward(b, &pass), dh = activations_->alloc(w_.compute, {T, w_.config.hidden_size});
  std::vector<float> v(static_cast<size_t>(T)), coef(v.size());
  linear(ctx_, make_view(v.data(), T, 1), h, w_.output());
  f(v, coef);
  Tensor dv = activations_->alloc(w_.compute, {T, 1});
  cast(ctx_, dv, make_view(coef.data(), T, 1));
  linear_dw(ctx_, grads_.tensors.output, dv, h);
  if (side) {
    CHECK(static_cast<int64_t>(side->target.size()) == T && static_cast<int64_t>(side->coef.size()) == T);
    Tensor logp = activations_->alloc(DType::kF32, {T});
    fused_cross_entropy(ctx_, {logp, {}, {}}, dh, {}, h, side->head, side->target.data(), side->coef.data());
  }
  linear_dx(ctx_, dh, dv, w_.output(), side != nullptr);
  model_backward(ctx_, w_, grads_.tensors, dh, b.ids.data(), sequences(b), pass, recompute_);
}

StepResult Learner::apply(double lr) {
  CHECK(grads_.arena);
  double ss = 0;
  each_flat(w_, grads_.tensors, [&](Tensor g, Spec) { ss += sum_squares(ctx_, g); });
  StepResult r{std::sqrt(ss), !std::isfinite(ss)};
  if (!r.skipped) {
    const double limit = options_.clip_grad_norm;
    const double scale = limit > 0 && r.grad_norm > limit ? limit / r.grad_norm : 1.0;
    ++step_;
    std::vector<Tensor> g, m, v, copy;
    each_flat(w_, grads_.tensors, [&](Tensor t, Spec) { g.push_back(t); });
    each_flat(w_, m_.tensors, [&](Tensor t, Spec) { m.push_back(t); });
    each_flat(w_, v_.tensors, [&](Tensor t, Spec) { v.push_back(t); });
    if (w_.compute == DType::kBF16) each_flat(w_, w_.copy.tensors, [&](Tensor t, Spec) { copy.push_back(t); });
    size_t i = 0;
    each_flat(w_, w_.master.tensors, [&](Tensor t, Spec spec) {
      const AdamW o{static_cast<float>(lr),
                    static_cast<float>(options_.beta1),
                    static_cast<float>(options_.beta2),
                    static_cast<float>(options_.eps),
                    spec.decay ? static_cast<float>(options_.weight_decay) : 0.0f,
                    static_cast<float>(scale),
                    step_};
      adamw(ctx_, t, copy.empty() ? Tensor{} : copy[i], m[i], v[i], g[i], o);
      ++i;
    });
  }
  each_flat(w_, grads_.tensors, [&](Tensor g, Spec) { fill(ctx_, g, 0); });
  return r;
}

std::string Learner::memory() const {
  std::vector<const Arena*> list{w_.master.arena.get()};
  for (const auto* s : {&w_.copy, &grads_, &m_, &v_})
    if (s->arena) list.push_back(s->arena.get());
  list.push_back(activations_.get());
  list.push_back(scratch_.get());
  return memory_table(list);
}

}  // namespace puyu
