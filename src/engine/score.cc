// Scoring of given tokens. Without a cache as training does it, sequences packed back to back: the same bits as through
// the cache, sooner. A quantised cache changes keys and values, so there scoring goes the way of a prompt.
#include <numeric>

#include "base/error.h"
#include "base/signal.h"
#include "engine/engine.h"

namespace puyu {

// Packs sequences into batches of max_tokens_per_step; longer ones stand alone.
void Engine::score(const std::vector<std::vector<int32_t>>& sequences,
                   const std::function<void(size_t, const Score&)>& done) {
  for (const auto& s : sequences) {
    check_ids(s);
    if (s.size() < 2 || static_cast<int64_t>(s.size()) > context_of(rope_config_, options_))
      fail("[engine] expected 2 to ", context_of(rope_config_, options_), " tokens to score, got ", s.size());
  }
  if (options_.kv_bits != 0) return score_cached(sequences, done);
  for (size_t begin = 0, end; begin < sequences.size(); begin = end) {
    if (interrupted()) fail("[engine] interrupted after scoring ", begin, " of ", sequences.size(), " sequences");
    Batch b;
    for (end = begin; end < sequences.size(); ++end) {
      const auto n = static_cast<int64_t>(sequences[end].size());
      if (end > begin && b.tokens() + n > options_.max_tokens_per_step) break;
      b.add(sequences[end].data(), n);
    }
    const std::vector<Score> scores = score_batch(b);
    for (size_t i = begin; i < end; ++i) done(i, scores[i - begin]);
  }
}

// As prompts with log-probs of their own, continuous batching and all; the one token that follows is thrown away.
void Engine::score_cached(const std::vector<std::vector<int32_t>>& sequences,
                          const std::function<void(size_t, const Score&)>& done) {
  std::vector<Score> scores(sequences.size());
  std::vector<Request> requests;
  size_t finished = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    Request& r = requests.emplace_back();
    r.prompt = sequences[i];
    r.sampling.temperature = 0, r.sampling.max_tokens = 1;
    r.prompt_logprobs = 1;
    r.on_prompt_token = [&s = scores[i]](const Token& t) {
      s.logp.push_back(t.logp);
      s.greedy.push_back(t.top.front().id == t.id);
    };
    r.on_finish = [&, i](FinishReason reason) {
      if (reason == FinishReason::kAborted) return;
      ++finished;
      done(i, scores[i]);
      scores[i] = {};
    };
  }
  run(std::move(requests), 0);
  if (finished < sequences.size())
    fail("[engine] interrupted after scoring ", finished, " of ", sequences.size(), " sequences");
}

std::vector<Engine::Score> Engine::score_batch(const Batch& b) {
  ScratchScope scope(activations_);
  const int64_t T = b.tokens();
  std::vector<int32_t> target(b.ids.begin() + 1, b.ids.end());
  target.push_back(-1);
  for (size_t i = 1; i < b.cu.size(); ++i) target[static_cast<size_t>(b.cu[i]) - 1] = -1;
  const int64_t hd = weights_.config.hd();
  Tensor rope_table = activations_.alloc(DType::kF32, {T, hd});
  Batch rows = b;
  for (size_t i = 0; i + 1 < b.cu.size(); ++i) {
    const std::shared_ptr<const RopeAngles> angles = rope_for(b.cu[i + 1] - b.cu[i]);
    for (int32_t t = b.cu[i]; t < b.cu[i + 1]; ++t)
      write_rope_row(*angles, b.positions[static_cast<size_t>(t)], rope_table.as<float>() + t * hd);
  }
  std::iota(rows.positions.begin(), rows.positions.end(), 0);
  Tensor h = model_forward(ctx_, activations_, weights_.config, packed_, weights_.compute, b.ids.data(), T,
                           rows.sequences(rope_table), nullptr);
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

}  // namespace puyu
