#include "train/learner.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "train/vocab_parallel.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Sequences of one token each, with nothing to predict: they change nothing but the number of tokens.
Batch filled(const Batch& b, int64_t n) {
  Batch out = b;
  const int32_t none = 0;
  for (int64_t i = 0; i < n; ++i) out.add(&none, 1);
  return out;
}
template <class T>
std::vector<T> filled(std::span<const T> v, int64_t n, T with) {
  std::vector<T> out(v.begin(), v.end());
  out.resize(v.size() + static_cast<size_t>(n), with);
  return out;
}

}  // namespace

Learner::Learner(Weights weights, OptimizerOptions options, Recompute recompute, bool trainable)
    : Learner(Zero(std::move(weights), trainable), options, recompute) {}

Learner::Learner(Zero state, OptimizerOptions options, Recompute recompute)
    : state_(std::move(state)), options_(options), recompute_(recompute) {
  activations_ = std::make_unique<Arena>("activations", kReserve);
  scratch_ = std::make_unique<Arena>("scratch", kReserve);
  ctx_ = {Device::kCpu, scratch_.get()};
  if (state_.ranks().splits_tensors()) tensor_ = std::make_unique<TensorParallel>(state_.ranks());
  if (state_.ranks().sequence().size() > 1) sequence_ = std::make_unique<SequenceParallel>(state_.ranks());
  CHECK(!(tensor_ || sequence_ || state_.ranks().splits_depth()) || weights().head == Head::kLanguage);
}

void Learner::set_rope_theta(double theta) { weights().config.rope_theta = theta; }

Sequences Learner::sequences(const Batch& b) {
  const int64_t need = b.max_len, have = rope_table_ ? rope_table_.shape[0] : 0;
  const ModelConfig& c = weights().config;
  if (need > c.max_position)
    fail("[train] a sequence of ", need, " tokens is longer than the model's max_position ", c.max_position);
  if (need > have || rope_theta_ != c.rope_theta) {
    const int64_t rows = std::min(c.max_position, std::max<int64_t>(need, 2 * have));
    rope_theta_ = c.rope_theta;
    tables_ = std::make_unique<Arena>("rope", rows * c.hd() * 4 + 4096);
    rope_table_ = make_rope_table(*tables_, c, rows);
  }
  Sequences s = b.sequences(rope_table_);
  if (tensor_) s.parallel = tensor_.get();
  return s;
}

// Tokens missing to a number that the tensor and context ranks can split.
int64_t Learner::filling(int64_t tokens) const {
  int64_t unit = tensor_ ? tensor_->token_unit(state_.config().hidden_size) : 1;
  if (sequence_) unit = sequence_->token_unit(unit);
  return (unit - tokens % unit) % unit;
}

Learner::Filled Learner::filled_up(const Batch& b, std::span<const int32_t> target) const {
  const int64_t n = filling(b.tokens());
  Filled out{filled(b, n), filled<int32_t>(target, n, -1), {}};
  if (!sequence_) return out;
  SequenceParallel::Rows mine = sequence_->take(out.batch, out.target, {});
  return {std::move(mine.batch), std::move(mine.target), std::move(mine.seqs)};
}

void Learner::cross_entropy(const CrossEntropyOut& out, Tensor dx, Tensor dw, Tensor x, std::span<const int32_t> target,
                            const float* coef) {
  if (tensor_)
    vocab_cross_entropy(ctx_, *tensor_, out, dx, dw, x, weights().output(), target.data(), coef);
  else
    fused_cross_entropy(ctx_, out, dx, dw, x, weights().output(), target.data(), coef);
}

LmSums Learner::sums(std::span<const int32_t> target, const float* logp, const int32_t* correct) const {
  LmSums s;
  for (size_t t = 0; t < target.size(); ++t) {
    if (target[t] < 0 || !counts_tokens()) continue;
    s.logp += static_cast<double>(logp[t]);
    s.correct += correct[t];
    ++s.tokens;
  }
  return s;
}

Tensor Learner::forward(const Batch& b, Pass* pass) {
  return model_forward(ctx_, *activations_, weights(), b.ids.data(), b.tokens(), sequences(b), pass, recompute_,
                       &state_);
}

LmSums Learner::accumulate_lm(const Batch& b, std::span<const int32_t> target, std::span<const float> coef,
                              TokenResults* each) {
  return accumulate(b, target, coef, nullptr, each);
}
LmSums Learner::accumulate_lm(const Batch& b, std::span<const int32_t> target, const CoefFn& f) {
  return accumulate(b, target, {}, &f, nullptr);
}

// This rank's rows go through the model; what all ranks found is put together.
LmSums Learner::accumulate_rows(const Batch& b, std::span<const int32_t> target, std::span<const float> coef,
                                TokenResults* each) {
  const SequenceParallel::Rows mine = sequence_->take(b, target, coef);
  TokenResults found;
  accumulate(mine.batch, mine.target, mine.coef, nullptr, &found);
  found = sequence_->put_together(found);
  const LmSums s = sums(target, found.logp.data(), found.correct.data());
  if (each) *each = std::move(found);
  return s;
}

LmSums Learner::logprobs_of_rows(const Batch& b, std::span<const int32_t> target, std::span<float> out) {
  const SequenceParallel::Rows mine = sequence_->take(b, target, {});
  ScratchScope scope(*activations_);
  const auto n = static_cast<int64_t>(mine.target.size());
  Tensor h = forward(mine.batch, nullptr), correct = activations_->alloc(DType::kI32, {n});
  Tensor logp = activations_->alloc(DType::kF32, {n});
  cross_entropy({logp, {}, correct}, {}, {}, h, mine.target, nullptr);
  leave_head();
  const TokenResults found = sequence_->put_together(
      {{logp.as<float>(), logp.as<float>() + n}, {correct.as<int32_t>(), correct.as<int32_t>() + n}});
  std::copy(found.logp.begin(), found.logp.end(), out.begin());
  return sums(target, found.logp.data(), found.correct.data());
}

LmSums Learner::accumulate(const Batch& b, std::span<const int32_t> target, std::span<const float> coef,
                           const CoefFn* f, TokenResults* each) {
  const int64_t T = b.tokens();
  const double begin = now();
  CHECK(static_cast<int64_t>(target.size()) == T && (f || static_cast<int64_t>(coef.size()) == T) &&
        state_.trainable() && !(f && (tensor_ || sequence_)) && !state_.ranks().splits_depth());
  if (const int64_t n = b.shared ? 0 : filling(T); n > 0) {
    const LmSums all =
        accumulate(filled(b, n), filled<int32_t>(target, n, -1), filled<float>(coef, n, 0), nullptr, each);
    if (each) each->logp.resize(target.size()), each->correct.resize(target.size());
    return all;
  }
  if (shares(b)) return accumulate_rows(b, target, coef, each);
  ScratchScope scope(*activations_);
  Weights& w = weights();
  Pass pass;
  Tensor h = forward(b, &pass), dh = activations_->alloc(w.compute, {T, w.config.hidden_size});
  Tensor logp = activations_->alloc(DType::kF32, {T}), correct = activations_->alloc(DType::kI32, {T});
  std::vector<float> computed;
  if (f) {
    cross_entropy({logp, {}, {}}, {}, {}, h, target, nullptr);
    computed.resize(static_cast<size_t>(T));
    (*f)({logp.as<float>(), static_cast<size_t>(T)}, computed);
    coef = computed;
  }
  Model<Tensor>& g = gradients();
  cross_entropy({logp, {}, correct}, dh, head_gradient(), h, target, coef.data());
  const double middle = now();
  model_backward(ctx_, w, g, dh, b.ids.data(), sequences(b), pass, recompute_, &state_);
  forward_seconds_ += middle - begin, backward_seconds_ += now() - middle;
  if (each) *each = {{logp.as<float>(), logp.as<float>() + T}, {correct.as<int32_t>(), correct.as<int32_t>() + T}};
  return sums(target, logp.as<float>(), correct.as<int32_t>());
}

LmSums Learner::logprobs(const Batch& b, std::span<const int32_t> target, std::span<float> out,
                         std::span<float> entropy) {
  CHECK(static_cast<int64_t>(target.size()) == b.tokens() && out.size() == target.size());
  if (const int64_t n = filling(b.tokens()); n > 0) {
    std::vector<float> all(out.size() + static_cast<size_t>(n));
    const LmSums s = logprobs(filled(b, n), filled<int32_t>(target, n, -1), all, entropy);
    std::copy_n(all.begin(), out.size(), out.begin());
    return s;
  }
  if (shares(b)) {
    CHECK(entropy.empty());
    return logprobs_of_rows(b, target, out);
  }
  ScratchScope scope(*activations_);
  const int64_t T = b.tokens();
  Tensor h = forward(b, nullptr), correct = activations_->alloc(DType::kI32, {T});
  Tensor ent = entropy.empty() ? Tensor{} : make_view(entropy.data(), T);
  cross_entropy({make_view(out.data(), T), ent, correct}, {}, {}, h, target, nullptr);
  leave_head();
  LmSums s = sums(target, out.data(), correct.as<int32_t>());
  for (size_t t = 0; ent && t < target.size(); ++t)
    if (target[t] >= 0) s.entropy += static_cast<double>(entropy[t]);
  return s;
}

void Learner::values(const Batch& b, std::span<float> out) {
  CHECK(weights().head == Head::kValue && static_cast<int64_t>(out.size()) == b.tokens());
  ScratchScope scope(*activations_);
  const Tensor h = forward(b, nullptr);
  linear(ctx_, make_view(out.data(), b.tokens(), 1), h, weights().output());
  leave_head();
}

void Learner::accumulate_values(const Batch& b, const CoefFn& f, const SideLoss* side) {
  CHECK(weights().head == Head::kValue && state_.trainable());
  ScratchScope scope(*activations_);
  Weights& w = weights();
  Pass pass;
  const int64_t T = b.tokens();
  Tensor h = forward(b, &pass), dh = activations_->alloc(w.compute, {T, w.config.hidden_size});
  std::vector<float> v(static_cast<size_t>(T)), coef(v.size());
  linear(ctx_, make_view(v.data(), T, 1), h, w.output());
  f(v, coef);
  Tensor dv = activations_->alloc(w.compute, {T, 1});
  cast(ctx_, dv, make_view(coef.data(), T, 1));
  linear_dw(ctx_, gradients().output, dv, h);
  if (side) {
    CHECK(static_cast<int64_t>(side->target.size()) == T && static_cast<int64_t>(side->coef.size()) == T);
    Tensor logp = activations_->alloc(DType::kF32, {T});
    fused_cross_entropy(ctx_, {logp, {}, {}}, dh, {}, h, side->head, side->target.data(), side->coef.data());
  }
  linear_dx(ctx_, dh, dv, w.output(), side != nullptr);
  model_backward(ctx_, w, gradients(), dh, b.ids.data(), sequences(b), pass, recompute_, &state_);
}

StepResult Learner::measure() {
  CHECK(state_.trainable());
  const GradientSquares squares = state_.squared_norms();
  StepResult r{std::sqrt(squares.all), {}, !std::isfinite(squares.all)};
  for (size_t i = 0; i < kGradientGroups; ++i) r.group_norms[i] = std::sqrt(squares.groups[i]);
  return r;
}

void Learner::update(double lr, const StepResult& r) {
  const double limit = options_.clip_grad_norm;
  const double scale = limit > 0 && r.grad_norm > limit ? limit / r.grad_norm : 1.0;
  ++step_;
  state_.update({static_cast<float>(lr), static_cast<float>(options_.beta1), static_cast<float>(options_.beta2),
                 static_cast<float>(options_.eps), static_cast<float>(options_.weight_decay), static_cast<float>(scale),
                 step_});
  state_.zero_gradients();
}

StepResult Learner::apply(double lr) {
  const StepResult r = measure();
  if (r.skipped)
    discard();
  else
    update(lr, r);
  return r;
}

std::vector<std::pair<std::string, int64_t>> Learner::memory() const {
  auto out = state_.memory();
  for (const Arena* a : {activations_.get(), scratch_.get()}) out.emplace_back(a->name(), a->peak());
  return out;
}

}  // namespace puyu
