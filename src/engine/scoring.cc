// What the engine computes that is no answer: log-probs of given tokens, embeddings, values.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/signal.h"
#include "engine/engine.h"

namespace puyu {

// Packs sequences into batches of max_tokens_per_step; longer ones stand alone.
void Engine::score(const std::vector<std::vector<int32_t>>& sequences,
                   const std::function<void(size_t, const Score&)>& done, int adapter) {
  if (head() != Head::kLanguage) fail("[engine] this is a reward model: it has no log-probs of tokens");
  check_adapter(adapter);
  const int64_t longest = options_.context ? options_.context : rope_config_.context();
  for (const auto& s : sequences) {
    check_ids(s);
    const std::string found = cat("[engine] expected 2 to ", longest, " tokens to score, got ", s.size());
    if (s.size() < 2) throw Error(found);
    if (static_cast<int64_t>(s.size()) > longest) throw TooLong(found);
  }
  for (size_t begin = 0, end; begin < sequences.size(); begin = end) {
    if (interrupted()) fail("[engine] interrupted after scoring ", begin, " of ", sequences.size(), " sequences");
    Batch b;
    for (end = begin; end < sequences.size(); ++end) {
      const auto n = static_cast<int64_t>(sequences[end].size());
      if (end > begin && b.tokens() + n > options_.max_tokens_per_step) break;
      b.add(sequences[end].data(), n);
    }
    const std::vector<Score> scores = score_batch(b, adapter);
    for (size_t i = begin; i < end; ++i) done(i, scores[i - begin]);
  }
}

std::vector<Engine::Score> Engine::score_batch(const Batch& b, int adapter) {
  ScratchScope scope(activations_);
  const int64_t T = b.tokens();
  std::vector<int32_t> target(b.ids.begin() + 1, b.ids.end());
  target.push_back(-1);
  for (size_t i = 1; i < b.cu.size(); ++i) target[static_cast<size_t>(b.cu[i]) - 1] = -1;
  const ModelConfig& c = weights_.config;
  Tensor rope_table = activations_.alloc(DType::kF32, {T, c.hd()});
  Batch rows = b;
  for (size_t i = 0; i + 1 < b.cu.size(); ++i) {
    const std::shared_ptr<const RopeAngles> angles = rope_for(b.cu[i + 1] - b.cu[i]);
    for (int32_t t = b.cu[i]; t < b.cu[i + 1]; ++t)
      write_rope_row(*angles, b.positions[static_cast<size_t>(t)], rope_table.as<float>() + t * c.hd());
  }
  std::iota(rows.positions.begin(), rows.positions.end(), 0);
  Tensor x = activations_.alloc(weights_.compute, {T, c.hidden_size});
  embedding(ctx_, x, packed_.tok_embeddings, b.ids.data());
  Sequences sequences = rows.sequences(rope_table);
  for (size_t l = 0; l < packed_.layers.size(); ++l) {
    LoraRows lora{0, T, nullptr};
    if (adapter >= 0) {
      lora.block = &adapters_[static_cast<size_t>(adapter)].pairs.layers[l];
      sequences.lora = {&lora, 1};
    }
    block_forward(ctx_, c, packed_.layers[l], x, sequences, nullptr);
  }
  Tensor h = activations_.alloc(weights_.compute, {T, c.hidden_size});
  rmsnorm(ctx_, h, {}, x, packed_.norm, static_cast<float>(c.rms_norm_eps));
  Tensor logp = activations_.alloc(DType::kF32, {T}), best = activations_.alloc(DType::kI32, {T});
  fused_cross_entropy(ctx_, {logp, {}, best}, {}, {}, h, output_, target.data(), nullptr);
  std::vector<Score> out;
  for (size_t i = 0; i + 1 < b.cu.size(); ++i) {
    const int32_t from = b.cu[i], to = b.cu[i + 1] - 1;
    out.push_back(
        {{logp.as<float>() + from, logp.as<float>() + to}, {best.as<int32_t>() + from, best.as<int32_t>() + to}});
  }
  return out;
}

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
    ScratchScope scope(activations_);
    Tensor h = activations_.alloc(weights_.compute, {w.end - from, c.hidden_size}),
           h32 = activations_.alloc(DType::kF32, {w.end - from, c.hidden_size});
    rmsnorm(ctx_, h, {}, own.rows(from - w.begin, w.end - w.begin), packed_.norm, static_cast<float>(c.rms_norm_eps));
    if (value) {
      Tensor out = activations_.alloc(DType::kF32, {1, 1});
      linear(ctx_, out, h, output_);
      a.sum.assign(1, static_cast<double>(*out.as<float>()));
      continue;
    }
    cast(ctx_, h32, h);
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
