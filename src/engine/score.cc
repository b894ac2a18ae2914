// Scoring of given tokens. Without a cache as training does it, sequences packed back to back: the same bits as through
// the cache, sooner. A quantised cache changes keys and values, so there scoring goes the way of a prompt.
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
  const int64_t longest = context_of(rope_config_, options_);
  for (const auto& s : sequences) {
    check_ids(s);
    const std::string found = cat("[engine] expected 2 to ", longest, " tokens to score, got ", s.size());
    if (s.size() < 2) throw Error(found);
    if (static_cast<int64_t>(s.size()) > longest) throw TooLong(found);
  }
  if (options_.kv_bits != 0) return score_cached(sequences, done, adapter);
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

// As prompts with log-probs of their own, continuous batching and all; the one token that follows is thrown away.
void Engine::score_cached(const std::vector<std::vector<int32_t>>& sequences,
                          const std::function<void(size_t, const Score&)>& done, int adapter) {
  std::vector<Score> scores(sequences.size());
  std::vector<Request> requests;
  size_t finished = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    Request& r = requests.emplace_back();
    r.prompt = sequences[i];
    r.sampling.temperature = 0, r.sampling.max_tokens = 1;
    r.prompt_logprobs = 1, r.prompt_alone = true;
    r.adapter = adapter;
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
  run(std::move(requests));
  if (finished < sequences.size())
    fail("[engine] interrupted after scoring ", finished, " of ", sequences.size(), " sequences");
}

std::vector<Engine::Score> Engine::score_batch(const Batch& b, int adapter) {
  ScratchScope scope(activations_), host_scope(host_scratch_);
  const int64_t T = b.tokens();
  std::vector<int32_t> target(b.ids.begin() + 1, b.ids.end());
  target.push_back(-1);
  for (size_t i = 1; i < b.cu.size(); ++i) target[static_cast<size_t>(b.cu[i]) - 1] = -1;
  const ModelConfig& c = weights_.config;
  Batch rows = b;
  std::vector<std::shared_ptr<const RopeAngles>> owned;
  std::vector<const RopeAngles*> angles;
  for (size_t i = 0; i + 1 < b.cu.size(); ++i) {
    owned.push_back(rope_for(b.cu[i + 1] - b.cu[i]));
    angles.resize(static_cast<size_t>(b.cu[i + 1]), owned.back().get());
  }
  Tensor rope_table = rope_rows(angles, b.positions);
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
  logp = to_host(logp), best = to_host(best);
  std::vector<Score> out;
  for (size_t i = 0; i + 1 < b.cu.size(); ++i) {
    const int32_t from = b.cu[i], to = b.cu[i + 1] - 1;
    out.push_back(
        {{logp.as<float>() + from, logp.as<float>() + to}, {best.as<int32_t>() + from, best.as<int32_t>() + to}});
  }
  return out;
}

}  // namespace puyu
