#include "engine/engine.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory

SchedulerLimits limits(const ModelConfig& c, const EngineOptions& o) {
  const int64_t tokens = o.kv_tokens ? o.kv_tokens : std::max(c.max_position, o.max_batch * 512);
  return {o.max_batch, o.max_tokens_per_step, pages_for(tokens), o.prefix_cache};
}

int checked_bits(int bits) {
  if (bits != 0 && bits != 4 && bits != 8) fail("[engine] kv_bits: expected 8, 4 or 0, got ", bits);
  return bits;
}

uint64_t prompt_hash(const std::vector<int32_t>& ids) {
  return hash64({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

}  // namespace

Engine::Engine(Weights& weights, const EngineOptions& options)
    : weights_(weights),
      options_(options),
      scratch_("scratch", kReserve),
      activations_("activations", kReserve),
      ctx_{Device::kCpu, &scratch_},
      scheduler_(limits(weights.config, options)),
      kv_(weights.config, weights.compute, checked_bits(options.kv_bits), limits(weights.config, options).pages) {
  if (!options.weights.empty() && options.weights != "w8a8" && options.weights != "w4a16")
    fail("[engine] weights: expected w8a8, w4a16 or nothing, got '", options.weights, "'");
  if (weights.head != Head::kLanguage) fail("[engine] expected a language model, got one with a value head");
  refresh();
}

void Engine::refresh() {
  CHECK(active_.empty(), "weights changed under running requests");
  scheduler_.clear_cache();
  const ModelConfig& c = weights_.config;
  rope_arena_ = std::make_unique<Arena>("rope", c.max_position * c.hd() * 4 + 4096);
  rope_table_ = make_rope_table(*rope_arena_, c.max_position, c.hd(), c.rope_theta);
  std::vector<Tensor> plain;
  weights_.use().each(c, weights_.head, [&](const std::string&, Tensor& t, Spec, int64_t) { plain.push_back(t); });
  if (!packed_arena_) packed_arena_ = std::make_unique<Arena>("packed weights", kReserve);
  packed_arena_->release(0);
  size_t i = 0;
  packed_.each(c, weights_.head, [&](const std::string&, Tensor& t, Spec, int64_t layer) {
    const Tensor& from = plain[i++];
    t = layer >= 0 && from.rank == 2 ? pack(from, options_.weights)
                                     : from;  // rows of the embedding are looked up, not multiplied
  });
  output_ = pack(weights_.output(), options_.weights == "w4a16" ? "" : options_.weights);
}

Tensor Engine::pack(Tensor w, const std::string& scheme) {
  auto room = [&](int64_t bytes) { return packed_arena_->alloc(DType::kU8, {bytes}).data; };
  if (scheme.empty()) return pack_weight(ctx_, room(packed_weight_bytes(ctx_, w)), w);
  ScratchScope scope(scratch_);
  const int64_t N = w.size(0), K = w.size(1), groups = (K + kQuantGroup - 1) / kQuantGroup;
  if (scheme == "w8a8") {
    Tensor q = scratch_.alloc(DType::kI8, {N, K}), scale = scratch_.alloc(DType::kF32, {N});
    quantize_rows(ctx_, q, scale, w);
    return pack_weight_int8(ctx_, room(packed_weight_bytes(ctx_, q)), q, scale);
  }
  Tensor q = scratch_.alloc(DType::kU8, {N, K}), scale = scratch_.alloc(DType::kF32, {N, groups}),
         zero = scratch_.alloc(DType::kF32, {N, groups});
  quantize_groups(ctx_, q, scale, zero, w);
  return pack_weight_int4(ctx_, room(packed_int4_bytes(ctx_, N, K, w.dtype)), q, scale, zero, w.dtype);
}

int64_t Engine::context_length() const {
  return std::min(weights_.config.max_position, limits(weights_.config, options_).pages * kPage);
}

void Engine::check_ids(std::span<const int32_t> ids) const {
  for (int32_t id : ids)
    if (id < 0 || id >= weights_.config.vocab_size)
      fail("[engine] token id ", id, " is outside the model's vocabulary of ", weights_.config.vocab_size,
           "; is this the model's own tokenizer?");
}

int64_t Engine::submit(Request request) {
  validate(request.sampling);
  check_ids(request.prompt);
  for (auto [bias_id, bias] : request.sampling.logit_bias) check_ids({&bias_id, 1});
  for (const auto& bad : request.bad_ids) {
    if (bad.empty()) fail("[engine] a sequence of forbidden ids is empty; expected at least one id");
    check_ids(bad);
  }
  const auto n = static_cast<int64_t>(request.prompt.size());
  if (n == 0) fail("[engine] the prompt is empty; expected at least one token");
  if (n >= context_length())
    fail("[engine] the prompt has ", n, " tokens; prompt and answer together may have ", context_length());
  const int64_t id = next_id_++;
  Active& a = active_[id];
  a.stream = prompt_hash(request.prompt) + request.sample;
  a.prompt = request.prompt.size();
  scheduler_.add(id, std::move(request.prompt));
  a.request = std::move(request);
  return id;
}

bool Engine::step() {
  const std::vector<Scheduler::Work> work = scheduler_.plan();
  if (work.empty()) return false;
  ScratchScope scope(activations_);
  std::vector<int64_t> sampled;
  std::vector<Token> tokens;
  try {
    for (auto [from, to] : scheduler_.copies()) kv_.copy(ctx_, from, to);
    tokens = choose(forward(work, sampled), sampled);
  } catch (...) {
    scheduler_.undo(work);  // or the prefix cache would keep pages that were never filled
    throw;
  }
  for (size_t i = 0; i < sampled.size(); ++i)
    if (active_.contains(sampled[i])) deliver(sampled[i], tokens[i]);  // a callback may abort another
  return true;
}

// Runs the tokens of `work`; logits f32 [sequences whose next token is due, V].
Tensor Engine::forward(const std::vector<Scheduler::Work>& work, std::vector<int64_t>& sampled) {
  const ModelConfig& c = weights_.config;
  std::vector<int32_t> ids, positions, cu{0}, past, table, last;
  size_t max_pages = 0;
  for (const auto& w : work) max_pages = std::max(max_pages, scheduler_.pages(w.id).size());
  for (const auto& w : work) {
    const std::vector<int32_t>& tokens = scheduler_.tokens(w.id);
    ids.insert(ids.end(), tokens.begin() + w.begin, tokens.begin() + w.end);
    for (int64_t p = w.begin; p < w.end; ++p) positions.push_back(static_cast<int32_t>(p));
    cu.push_back(static_cast<int32_t>(ids.size()));
    past.push_back(static_cast<int32_t>(w.begin));
    table.insert(table.end(), scheduler_.pages(w.id).begin(), scheduler_.pages(w.id).end());
    table.resize(past.size() * max_pages, 0);
    if (w.samples) sampled.push_back(w.id), last.push_back(cu.back() - 1);
  }
  const auto T = static_cast<int64_t>(ids.size()), n = static_cast<int64_t>(sampled.size());
  Tensor x = activations_.alloc(weights_.compute, {T, c.hidden_size});
  embedding(ctx_, x, packed_.tok_embeddings, ids.data());
  PagedSeqs paged{
      cu.data(), past.data(), table.data(), static_cast<int64_t>(work.size()), static_cast<int64_t>(max_pages), {}, {}};
  for (size_t l = 0; l < packed_.layers.size(); ++l) {
    paged.k_pages = kv_.k[l], paged.v_pages = kv_.v[l];
    block_forward(ctx_, c, packed_.layers[l], x, {positions.data(), paged, rope_table_}, nullptr);
  }
  Tensor logits = activations_.alloc(DType::kF32, {n, c.vocab_size});
  if (n == 0) return logits;
  Tensor rows = activations_.alloc(weights_.compute, {n, c.hidden_size}),
         h = activations_.alloc(weights_.compute, {n, c.hidden_size});
  gather_rows(ctx_, rows, x, last.data());
  rmsnorm(ctx_, h, {}, rows, packed_.norm, static_cast<float>(c.rms_norm_eps));
  linear(ctx_, logits, h, output_);
  return logits;
}

// The next token of one sequence, -1 when its mask allows none. `logits` are its own copy.
int32_t Engine::choose_one(int64_t id, std::span<float> logits) const {
  const Active& a = active_.at(id);
  const SamplingOptions& o = a.request.sampling;
  const std::vector<int32_t>& tokens = scheduler_.tokens(id);
  adjust(logits, answer(id), o, a.request.stop_ids, a.request.bad_ids);
  if (a.request.mask) a.request.mask->allow(logits);
  Rng rng(static_cast<uint64_t>(o.seed), a.stream);
  rng.counter = tokens.size();
  return sample(logits, tokens, o, rng);
}

std::span<const int32_t> Engine::answer(int64_t id) const {
  return std::span(scheduler_.tokens(id)).subspan(active_.at(id).prompt);
}

std::vector<Token> Engine::choose(Tensor logits, const std::vector<int64_t>& sampled) {
  const auto n = static_cast<int64_t>(sampled.size());
  const int64_t V = weights_.config.vocab_size;
  std::vector<Token> out(sampled.size());
  if (n == 0) return out;
  // Penalties and masks work in place, the log-probs are those of the untouched logits.
  Tensor work = activations_.alloc(DType::kF32, {n, V});
  std::copy_n(logits.as<float>(), n * V, work.as<float>());
  parallel_for(n, [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    out[at].id = choose_one(sampled[at], {work.as<float>() + i * V, static_cast<size_t>(V)});
  });
  std::vector<int32_t> ids;
  std::vector<float> logp(sampled.size());
  for (const Token& t : out) ids.push_back(std::max(t.id, 0));
  target_logp(ctx_, make_view(logp.data(), n), logits, ids.data());
  for (size_t i = 0; i < out.size(); ++i) out[i].logp = logp[i];
  add_top(logits, sampled, out);
  return out;
}

// The k-th alternatives of all rows go through target_logp together, so that their log-probs are the same bits as if
// they had been chosen.
void Engine::add_top(Tensor logits, const std::vector<int64_t>& sampled, std::vector<Token>& tokens) {
  const auto V = static_cast<size_t>(weights_.config.vocab_size);
  size_t most = 0;
  for (size_t i = 0; i < sampled.size(); ++i) {
    const int want = active_.at(sampled[i]).request.sampling.top_logprobs;
    if (want <= 0) continue;
    for (int32_t id : most_likely({logits.as<float>() + i * V, V}, want)) tokens[i].top.push_back({id, 0});
    most = std::max(most, tokens[i].top.size());
  }
  std::vector<int32_t> ids(sampled.size());
  std::vector<float> logp(sampled.size());
  for (size_t k = 0; k < most; ++k) {
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = k < tokens[i].top.size() ? tokens[i].top[k].id : 0;
    target_logp(ctx_, make_view(logp.data(), static_cast<int64_t>(logp.size())), logits, ids.data());
    for (size_t i = 0; i < ids.size(); ++i)
      if (k < tokens[i].top.size()) tokens[i].top[k].logp = logp[i];
  }
}

void Engine::deliver(int64_t id, const Token& token) {
  Active& a = active_.at(id);
  if (token.id < 0) return finish(id, FinishReason::kStop);
  if (a.request.on_start && answer(id).empty()) a.request.on_start(scheduler_.reused(id));
  scheduler_.extend(id, token.id);
  const std::vector<int32_t>& stops = a.request.stop_ids;
  const SamplingOptions& o = a.request.sampling;
  const bool end = std::find(stops.begin(), stops.end(), token.id) != stops.end();
  if (a.request.mask && !end) a.request.mask->accept(token.id);
  const bool go_on = !a.request.on_token || a.request.on_token(token);
  if (!active_.contains(id)) return;  // aborted by its own callback
  const auto total = static_cast<int64_t>(scheduler_.tokens(id).size());
  if (!go_on || (end && !o.ignore_eos) || (a.request.mask && a.request.mask->finished()))
    finish(id, FinishReason::kStop);
  else if (loops(answer(id), o))
    finish(id, FinishReason::kLoop);
  else if (static_cast<int64_t>(answer(id).size()) >= o.max_tokens || total >= context_length())
    finish(id, FinishReason::kLength);
}

void Engine::finish(int64_t id, FinishReason reason) {
  scheduler_.remove(id);
  auto node = active_.extract(id);
  if (node.mapped().request.on_finish) node.mapped().request.on_finish(reason);
}

void Engine::abort(int64_t id) {
  if (active_.contains(id)) finish(id, FinishReason::kAborted);
}

void Engine::abort_all() {
  while (!active_.empty()) finish(active_.begin()->first, FinishReason::kAborted);
}

void Engine::run(std::vector<Request> requests) {
  struct AbortRest {  // also when a later request is refused: callbacks point into the caller's frame
    Engine& engine;
    std::vector<int64_t> ids;
    ~AbortRest() {
      for (int64_t id : ids) engine.abort(id);
    }
  } rest{*this, {}};
  for (Request& r : requests) rest.ids.push_back(submit(std::move(r)));
  while (!interrupted() && step()) continue;
}

std::vector<Rollout> Engine::generate_tokens(const std::vector<std::vector<int32_t>>& prompts,
                                             const SamplingOptions& sampling, std::span<const int32_t> stop_ids) {
  std::vector<Rollout> out(prompts.size());
  std::vector<Request> requests;
  std::map<std::vector<int32_t>, uint64_t> seen;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Request& r = requests.emplace_back(
        Request{prompts[i], sampling, {stop_ids.begin(), stop_ids.end()}, seen[prompts[i]]++, {}, {}});
    r.on_token = [&o = out[i]](const Token& t) {
      o.tokens.push_back(t.id);
      o.logp.push_back(t.logp);
      return true;
    };
    r.on_finish = [&o = out[i]](FinishReason reason) { o.reason = reason; };
  }
  run(std::move(requests));
  return out;
}

// Packs sequences into batches of max_tokens_per_step; longer ones stand alone.
void Engine::score(const std::vector<std::vector<int32_t>>& sequences,
                   const std::function<void(size_t, const Score&)>& done) {
  for (const auto& s : sequences) {
    check_ids(s);
    if (s.size() < 2 || static_cast<int64_t>(s.size()) > weights_.config.max_position)
      fail("[engine] expected 2 to ", weights_.config.max_position, " tokens to score, got ", s.size());
  }
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

std::vector<Engine::Score> Engine::score_batch(const Batch& b) {
  ScratchScope scope(activations_);
  const int64_t T = b.tokens();
  std::vector<int32_t> target(b.ids.begin() + 1, b.ids.end());
  target.push_back(-1);
  for (size_t i = 1; i < b.cu.size(); ++i) target[static_cast<size_t>(b.cu[i]) - 1] = -1;
  Tensor h = model_forward(ctx_, activations_, weights_.config, packed_, weights_.compute, b.ids.data(), T,
                           b.sequences(rope_table_), nullptr);
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

std::string Engine::memory() const { return memory_table({packed_arena_.get(), &kv_.arena, &activations_, &scratch_}); }

}  // namespace puyu
