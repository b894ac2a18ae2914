// What the engine computes that is no answer and no log-prob: embeddings and values.
#include "base/error.h"
#include "engine/engine.h"

namespace puyu {

// x: the last block's output for the tokens of `work`. Norms and sums go token by token, in their order, so that what
// else is in the step and where a prompt was cut changes no bit.
void Engine::pool(const std::vector<Scheduler::Work>& work, Tensor x) {
  const ModelConfig& c = weights_.config;
  const auto D = static_cast<size_t>(c.hidden_size);
  int64_t begin = 0;
  for (const Scheduler::Work& w : work) {
    const Tensor own = x.rows(begin, begin + w.end - w.begin);
    begin += w.end - w.begin;
    Active& a = active_.at(w.id);
    const bool value = a.request.wants == Request::Wants::kValue;
    if (a.request.wants == Request::Wants::kAnswer || (value && !w.samples)) continue;
    // After a preemption some tokens come again.
    const int64_t from = value ? w.end - 1 : std::max(w.begin, static_cast<int64_t>(a.pooled));
    if (from >= w.end) continue;
    ScratchScope scope(activations_), host_scope(host_scratch_);
    Tensor h = activations_.alloc(weights_.compute, {w.end - from, c.hidden_size}),
           h32 = activations_.alloc(DType::kF32, {w.end - from, c.hidden_size});
    rmsnorm(ctx_, h, {}, own.rows(from - w.begin, w.end - w.begin), packed_.norm, static_cast<float>(c.rms_norm_eps));
    if (value) {
      Tensor out = activations_.alloc(DType::kF32, {1, 1});
      linear(ctx_, out, h, output_);
      a.sum.assign(1, static_cast<double>(*to_host(out).as<float>()));
      continue;
    }
    cast(ctx_, h32, h);
    h32 = to_host(h32);
    a.sum.resize(D);
    for (int64_t t = 0; t < w.end - from; ++t)
      for (size_t d = 0; d < D; ++d) a.sum[d] += static_cast<double>(h32.as<float>()[static_cast<size_t>(t) * D + d]);
    a.pooled = static_cast<size_t>(w.end);
  }
}

void Engine::deliver_values(const std::vector<Scheduler::Work>& work) {
  for (const Scheduler::Work& w : work) {
    const auto it = active_.find(w.id);  // a callback may abort another
    if (!w.samples || it == active_.end() || it->second.request.wants == Request::Wants::kAnswer) continue;
    const Active& a = it->second;
    const double tokens = a.request.wants == Request::Wants::kValue ? 1 : static_cast<double>(a.prompt);
    std::vector<float> out(a.sum.size());
    std::transform(a.sum.begin(), a.sum.end(), out.begin(), [&](double s) { return static_cast<float>(s / tokens); });
    if (a.request.on_start) a.request.on_start(scheduler_.reused(w.id));
    if (a.request.on_values) a.request.on_values(out);
    if (active_.contains(w.id)) finish(w.id, FinishReason::kStop);
  }
}

}  // namespace puyu
