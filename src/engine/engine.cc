#include "engine/engine.h"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/signal.h"
#include "engine/pack_matrix.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory

constexpr int32_t kNotReached = -2;  // the id in a row whose guess was wrong

SchedulerLimits limits(const ModelConfig& c, const EngineOptions& o) {
  return {o.max_batch, o.max_tokens_per_step, pages_for(cache_tokens(c, o)), o.prefix_cache, o.ageing_tokens};
}

int checked_bits(int bits) {
  if (bits != 0 && bits != 4 && bits != 8) fail("[engine] kv_bits: expected 8, 4 or 0, got ", bits);
  return bits;
}

Device checked_device(const std::string& name) {
  if (name == "cpu") return Device::kCpu;
  if (name != "cuda") fail("device: expected cpu or cuda, got '", name, "'");
  if (!cuda_built_in())
    fail(
        "device: this puyu was built without CUDA; use cpu, or install nvcc and build with cmake --preset "
        "cuda");
  if (device_count() == 0)
    fail("device: no GPU that this process can use; check nvidia-smi and CUDA_VISIBLE_DEVICES, or use cpu");
  return Device::kCuda;
}

uint64_t prompt_hash(const std::vector<int32_t>& ids) {
  return hash64({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

}  // namespace

ModelConfig serving_config(ModelConfig c, const EngineOptions& o) {
  if (o.rope_factor != 0) {
    if (!c.rope_scaling.empty() && c.rope_scaling != "dynamic")
      fail("[engine] rope_factor: the model has '", c.rope_scaling, "' scaling of its own; leave it out");
    c.rope_scaling = "dynamic", c.rope_factor = o.rope_factor;
    c.validate();
  }
  if (o.context > c.context() && c.rope_scaling != "dynamic")
    fail("[engine] context: the model knows positions up to ", c.context(), ", got ", o.context,
         "; a longer context needs rope_factor (dynamic NTK)");
  return c;
}

int64_t context_of(const ModelConfig& c, const EngineOptions& o) { return o.context ? o.context : c.context(); }

int64_t cache_tokens(const ModelConfig& c, const EngineOptions& o) {
  return o.kv_tokens ? o.kv_tokens : std::max(context_of(c, o), o.max_batch * 512);
}

Engine::Engine(Weights& weights, const EngineOptions& options)
    : weights_(weights),
      options_(options),
      scratch_("scratch", kReserve, checked_device(options.device)),
      activations_("activations", kReserve, scratch_.device()),
      host_scratch_("host", kReserve),
      ctx_{scratch_.device(), &scratch_, nullptr, options.batch_invariant},
      host_{Device::kCpu, &host_scratch_},
      rope_config_(serving_config(weights.config, options)),
      scheduler_(limits(rope_config_, options)),
      kv_(weights.config, weights.compute, checked_bits(options.kv_bits), limits(rope_config_, options).pages,
          scratch_.device()) {
  if (!options.draft.empty() && options.draft != "ngram")
    fail("[engine] draft: expected ngram or nothing, got '", options.draft, "'");
  if (options.draft == "ngram") drafter_ = make_ngram_drafter();
  if (options.draft_tokens < 1 || options.draft_tokens > 64)
    fail("[engine] draft_tokens: expected 1 to 64, got ", options.draft_tokens);
  options_.weights = serving_scheme(weights.source ? weights.source->scheme() : "", options.weights);
  refresh();
}

void Engine::refresh() {
  CHECK(active_.empty(), "weights changed under running requests");
  scheduler_.clear_cache();
  const ModelConfig& c = weights_.config;
  rope_config_.rope_theta = c.rope_theta;
  rope_ = std::make_shared<RopeAngles>(rope_angles(rope_config_));
  std::vector<Tensor> plain;
  weights_.use().each(c, weights_.head, [&](const std::string&, Tensor& t, Spec, int64_t) { plain.push_back(t); });
  if (!packed_arena_) packed_arena_ = std::make_unique<Arena>("packed weights", kReserve, ctx_.device);
  packed_arena_->release(0);
  size_t i = 0;
  packed_.each(c, weights_.head, [&](const std::string& name, Tensor& t, Spec, int64_t layer) {
    const Tensor& from = plain[i++];
    const bool matrix = layer >= 0 && from.rank == 2;  // rows of the embedding are looked up, not multiplied
    t = matrix ? pack_matrix(host_, ctx_, *packed_arena_, weights_, name, from, options_.weights)
               : place_in(*packed_arena_, from);
    // What was mapped and is packed now need not stay in memory twice.
    if (t.data != from.data && from && weights_.source &&
        weights_.source->view(name, weights_.compute).data == from.data)
      drop_mapped_pages(from.data, static_cast<size_t>(from.nbytes()));
  });
  if (head() == Head::kValue)
    output_ = place_in(*packed_arena_,
                       weights_.output());  // one row: nothing to gain from packing, and quantised it would lose
  else
    output_ = pack_matrix(host_, ctx_, *packed_arena_, weights_, "output.weight", weights_.output(),
                          head_scheme(options_.weights));
}

int64_t Engine::context_length() const {
  return std::min(context_of(rope_config_, options_), scheduler_.total_pages() * kPage);
}

void Engine::check_ids(std::span<const int32_t> ids) const {
  for (int32_t id : ids)
    if (id < 0 || id >= weights_.config.vocab_size)
      fail("[engine] token id ", id, " is outside the model's vocabulary of ", weights_.config.vocab_size,
           "; is this the model's own tokenizer?");
}

void Engine::check(const Request& request) const {
  validate(request.sampling);
  if (request.wants == Request::Wants::kAnswer && head() != Head::kLanguage)
    fail("[engine] this is a reward model: it gives scores and no answers");
  if (request.wants == Request::Wants::kValue && head() != Head::kValue)
    fail("[engine] this model has no value head: it gives answers and no scores");
  check_ids(request.prompt);
  for (auto [bias_id, bias] : request.sampling.logit_bias) check_ids({&bias_id, 1});
  for (const auto& bad : request.bad_ids) {
    if (bad.empty()) fail("[engine] a sequence of forbidden ids is empty; expected at least one id");
    check_ids(bad);
  }
  if (const int p = request.claim.priority; p < -kMaxPriority || p > kMaxPriority)
    fail("[engine] priority: expected ", -kMaxPriority, " to ", kMaxPriority, ", got ", p);
  check_adapter(request.adapter);
  const auto n = static_cast<int64_t>(request.prompt.size());
  if (n == 0) fail("[engine] the prompt is empty; expected at least one token");
  const bool answers = request.wants == Request::Wants::kAnswer && !request.prompt_alone;
  if (!answers && n > context_length())
    fail("[engine] the text has ", n, " tokens; the longest that this server takes has ", context_length());
  if (answers && n >= context_length())
    fail("[engine] the prompt has ", n, " tokens; prompt and answer together may have ", context_length());
}

void Engine::check_adapter(int adapter) const {
  if (adapter < -1 || adapter >= static_cast<int>(adapters_.size()))
    fail("[engine] there is no adapter ", adapter, "; expected one that add_adapter() gave");
}

int64_t Engine::submit(Request request) {
  check(request);
  const auto n = static_cast<int64_t>(request.prompt.size());
  const int64_t id = next_id_++;
  Active& a = active_[id];
  a.stream = prompt_hash(request.prompt) + request.sample;
  a.prompt = request.prompt.size();
  a.rope = rope_for(n);
  a.guesses = options_.draft_tokens;
  // Keys depend on the RoPE base and the adapter, so prefixes are shared within one of both only.
  const uint64_t domain = std::bit_cast<uint64_t>(rope_base(rope_config_, n)) + static_cast<uint64_t>(request.adapter);
  const bool reuse = request.prompt_logprobs < 0 && request.wants != Request::Wants::kEmbedding;
  scheduler_.add(id, std::move(request.prompt), domain, reuse, request.claim);
  a.request = std::move(request);
  return id;
}

std::shared_ptr<const RopeAngles> Engine::rope_for(int64_t prompt_tokens) const {
  if (rope_base(rope_config_, prompt_tokens) == rope_config_.rope_theta) return rope_;
  return std::make_shared<RopeAngles>(rope_angles(rope_config_, prompt_tokens));
}

int Engine::add_adapter(const std::string& dir) {
  CHECK(active_.empty(), "adapters changed under running requests");
  adapters_.push_back(load_lora(host_, ctx_, dir, weights_.config, weights_.compute));
  return static_cast<int>(adapters_.size()) - 1;
}

// Hands the scheduler guesses for the sequences that would run one token each.
void Engine::guess() {
  if (!drafter_) return;
  std::vector<int64_t> ids;
  std::vector<std::span<const int32_t>> sequences;
  int most = 0;
  for (int64_t id : scheduler_.decoding()) {
    if (active_.at(id).request.wants != Request::Wants::kAnswer) continue;
    ids.push_back(id), sequences.push_back(scheduler_.tokens(id));
    most = std::max(most, active_.at(id).guesses);
  }
  if (ids.empty() || static_cast<int64_t>(ids.size()) > options_.draft_batch) return;
  std::vector<std::vector<int32_t>> guesses = drafter_->propose(sequences, most);
  for (size_t i = 0; i < ids.size(); ++i) {
    const Active& a = active_.at(ids[i]);
    // The model adds one token to the guesses, and the answer must not grow beyond its limits.
    const auto n = static_cast<int64_t>(sequences[i].size()), answered = n - static_cast<int64_t>(a.prompt);
    const int64_t room = std::min(context_length() - n, a.request.sampling.max_tokens - answered) - 1;
    const int64_t wanted = std::min<int64_t>(a.guesses, room);
    std::vector<int32_t>& g = guesses[i];
    g.resize(static_cast<size_t>(std::clamp<int64_t>(wanted, 0, static_cast<int64_t>(g.size()))));
    // A draft model's vocabulary may be padded further than ours.
    g.erase(std::find_if(g.begin(), g.end(), [&](int32_t t) { return t < 0 || t >= weights_.config.vocab_size; }),
            g.end());
    scheduler_.draft(ids[i], g);
  }
}

bool Engine::step() {
  guess();
  const std::vector<Scheduler::Work> work = scheduler_.plan();
  if (work.empty()) return false;
  ScratchScope scope(activations_), host_scope(host_scratch_);
  std::vector<Row> rows;
  std::vector<Token> tokens;
  try {
    for (auto [from, to] : scheduler_.copies()) kv_.copy(ctx_, from, to);
    tokens = choose(to_host(forward(work, rows)), rows);
  } catch (...) {
    scheduler_.undo(work);  // or the prefix cache would keep pages that were never filled
    throw;
  }
  deliver_values(work);
  count_guesses(rows, tokens);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (tokens[i].id == kNotReached || !active_.contains(rows[i].id)) continue;  // a callback may abort another
    if (rows[i].given) {
      active_.at(rows[i].id).scored = rows[i].history;
      active_.at(rows[i].id).request.on_prompt_token(tokens[i]);
      continue;
    }
    const bool more = i + 1 < rows.size() && rows[i + 1].id == rows[i].id && tokens[i + 1].id != kNotReached;
    deliver(rows[i].id, tokens[i], more);
  }
  return true;
}

// Each step has a table of its own, a row a token: sequences may have different bases, and a context of any length
// needs no table of its size.
Tensor Engine::rope_rows(const std::vector<const RopeAngles*>& angles, const std::vector<int32_t>& positions) {
  const auto T = static_cast<int64_t>(positions.size());
  const int64_t hd = weights_.config.hd(), pieces = T < 32 ? 1 : T / 16;
  Tensor table = host_scratch_.alloc(DType::kF32, {T, hd});
  parallel_for(pieces, [&](int64_t piece) {
    for (int64_t t = T * piece / pieces; t < T * (piece + 1) / pieces; ++t)
      write_rope_row(*angles[static_cast<size_t>(t)], positions[static_cast<size_t>(t)], table.as<float>() + t * hd);
  });
  return place_in(activations_, table, ctx_.stream);
}

// Runs the tokens of `work`; logits f32 [rows, V]: of each sequence whose next token is due one, and one a guess.
Tensor Engine::forward(const std::vector<Scheduler::Work>& work, std::vector<Row>& rows) {
  const ModelConfig& c = weights_.config;
  std::vector<const RopeAngles*> angles;
  std::vector<int32_t> ids, positions, cu{0}, past, table, last;
  size_t max_pages = 0;
  for (const auto& w : work) max_pages = std::max(max_pages, scheduler_.pages(w.id).size());
  for (const auto& w : work) {
    const std::vector<int32_t>& tokens = scheduler_.with_drafts(w.id);
    angles.resize(angles.size() + static_cast<size_t>(w.end - w.begin), active_.at(w.id).rope.get());
    ids.insert(ids.end(), tokens.begin() + w.begin, tokens.begin() + w.end);
    for (int64_t p = w.begin; p < w.end; ++p) positions.push_back(static_cast<int32_t>(p));
    cu.push_back(static_cast<int32_t>(ids.size()));
    past.push_back(static_cast<int32_t>(w.begin));
    table.insert(table.end(), scheduler_.pages(w.id).begin(), scheduler_.pages(w.id).end());
    table.resize(past.size() * max_pages, 0);
    const size_t known = rows.size();
    add_rows(w, rows);
    for (size_t i = known; i < rows.size(); ++i)
      last.push_back(cu.back() - static_cast<int32_t>(w.end - static_cast<int64_t>(rows[i].history)) - 1);
  }
  const auto T = static_cast<int64_t>(ids.size()), n = static_cast<int64_t>(rows.size());
  Tensor rope_table = rope_rows(angles, positions);
  std::iota(positions.begin(), positions.end(), 0);
  Tensor x = activations_.alloc(weights_.compute, {T, c.hidden_size});
  embedding(ctx_, x, packed_.tok_embeddings, ids.data());
  PagedSeqs paged{
      cu.data(), past.data(), table.data(), static_cast<int64_t>(work.size()), static_cast<int64_t>(max_pages), {}, {}};
  std::vector<LoraRows> lora;  // of the sequences that have an adapter
  std::vector<const Lora*> adapters;
  for (size_t i = 0; i < work.size(); ++i)
    if (const int a = active_.at(work[i].id).request.adapter; a >= 0)
      lora.push_back({cu[i], cu[i + 1], nullptr}), adapters.push_back(&adapters_[static_cast<size_t>(a)]);
  for (size_t l = 0; l < packed_.layers.size(); ++l) {
    for (size_t i = 0; i < lora.size(); ++i) lora[i].block = &adapters[i]->pairs.layers[l];
    paged.k_pages = kv_.k[l], paged.v_pages = kv_.v[l];
    block_forward(ctx_, c, packed_.layers[l], x, {positions.data(), paged, rope_table, lora}, nullptr);
  }
  pool(work, x);
  Tensor logits = activations_.alloc(DType::kF32, {n, c.vocab_size});
  if (n == 0) return logits;
  Tensor due = activations_.alloc(weights_.compute, {n, c.hidden_size}),
         h = activations_.alloc(weights_.compute, {n, c.hidden_size});
  gather_rows(ctx_, due, x, last.data());
  rmsnorm(ctx_, h, {}, due, packed_.norm, static_cast<float>(c.rms_norm_eps));
  linear(ctx_, logits, h, output_);
  return logits;
}

void Engine::add_rows(const Scheduler::Work& w, std::vector<Row>& rows) const {
  const Active& a = active_.at(w.id);
  if (a.request.wants != Request::Wants::kAnswer) return;
  if (a.request.prompt_logprobs >= 0)  // again only after a preemption: then they were delivered
    for (size_t p = std::max(static_cast<size_t>(w.begin), a.scored) + 1; p < a.prompt; ++p) {
      if (p > static_cast<size_t>(w.end)) break;
      rows.push_back({w.id, p, true});
    }
  for (int64_t d = w.drafts; w.samples && d >= 0; --d) rows.push_back({w.id, static_cast<size_t>(w.end - d)});
}

// The next token of one sequence, -1 when its mask allows none. `logits` are its own copy.
int32_t Engine::choose_one(const Row& row, std::span<float> logits) const {
  const Active& a = active_.at(row.id);
  const SamplingOptions& o = a.request.sampling;
  const auto tokens = std::span(scheduler_.with_drafts(row.id)).first(row.history);
  adjust(logits, tokens.subspan(a.prompt), o, a.request.stop_ids, a.request.bad_ids);
  if (a.request.mask) a.request.mask->allow(logits);
  Rng rng(static_cast<uint64_t>(o.seed), a.stream);
  rng.counter = tokens.size();
  return sample(logits, tokens, o, rng);
}

// Whether the row after this one counts: its guess was the token that was chosen, and the answer goes on. Tells the
// mask what was chosen, for the next row asks it.
bool Engine::next_is_due(const Row& row, int32_t chosen) const {
  const Request& r = active_.at(row.id).request;
  const bool end = std::find(r.stop_ids.begin(), r.stop_ids.end(), chosen) != r.stop_ids.end();
  if (chosen < 0) return false;
  if (r.mask && !end) r.mask->accept(chosen);
  if ((end && !r.sampling.ignore_eos) || (r.mask && r.mask->finished())) return false;
  const std::vector<int32_t>& tokens = scheduler_.with_drafts(row.id);
  return row.history < tokens.size() && tokens[row.history] == chosen;
}

// Fewer guesses for a sequence whose guesses are wrong, more when all were right.
void Engine::count_guesses(const std::vector<Row>& rows, const std::vector<Token>& tokens) {
  for (size_t begin = 0, end; begin < rows.size(); begin = end) {
    int64_t right = -1;
    int64_t guessed = -1;
    for (end = begin; end < rows.size() && rows[end].id == rows[begin].id; ++end)
      if (!rows[end].given) ++guessed, right += tokens[end].id != kNotReached;
    if (guessed <= 0) continue;
    drafted_tokens_ += guessed, accepted_tokens_ += right;
    int& ask = active_.at(rows[begin].id).guesses;
    ask = right == guessed ? std::min(ask + 1, options_.draft_tokens) : std::max<int>(1, static_cast<int>(right) + 1);
  }
}

std::span<const int32_t> Engine::answer(int64_t id) const {
  return std::span(scheduler_.tokens(id)).subspan(active_.at(id).prompt);
}

std::vector<Token> Engine::choose(Tensor logits, const std::vector<Row>& rows) {
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t V = weights_.config.vocab_size;
  std::vector<Token> out(rows.size());
  if (n == 0) return out;
  for (Token& t : out) t.id = kNotReached;
  std::vector<size_t> first;  // row of each sequence
  for (size_t i = 0; i < rows.size(); ++i)
    if (i == 0 || rows[i].id != rows[i - 1].id) first.push_back(i);
  // Penalties and masks work in place, the log-probs are those of the untouched logits.
  Tensor work = host_scratch_.alloc(DType::kF32, {n, V});
  parallel_for(static_cast<int64_t>(first.size()), [&](int64_t s) {
    const size_t begin = first[static_cast<size_t>(s)];
    for (size_t i = begin; i < rows.size() && rows[i].id == rows[begin].id; ++i) {
      if (rows[i].given) {
        out[i].id = scheduler_.tokens(rows[i].id)[rows[i].history];
        continue;
      }
      float* own = logits.as<float>() + static_cast<int64_t>(i) * V;
      const Request& r = active_.at(rows[i].id).request;
      if (changes_logits(r.sampling) || r.mask || !r.bad_ids.empty())
        own = std::copy_n(own, V, work.as<float>() + static_cast<int64_t>(i) * V) - V;
      out[i].id = choose_one(rows[i], {own, static_cast<size_t>(V)});
      if (!next_is_due(rows[i], out[i].id)) break;
    }
  });
  std::vector<int32_t> ids;
  std::vector<float> logp(rows.size());
  for (const Token& t : out) ids.push_back(std::max(t.id, 0));
  target_logp(host_, make_view(logp.data(), n), logits, ids.data());
  for (size_t i = 0; i < out.size(); ++i) out[i].logp = logp[i];
  add_top(logits, rows, out);
  return out;
}

// The k-th alternatives of all rows go through target_logp together, so that their log-probs are the same bits as if
// they had been chosen.
void Engine::add_top(Tensor logits, const std::vector<Row>& rows, std::vector<Token>& tokens) {
  const auto V = static_cast<size_t>(weights_.config.vocab_size);
  size_t most = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Request& r = active_.at(rows[i].id).request;
    const int want = rows[i].given ? r.prompt_logprobs : r.sampling.top_logprobs;
    if (want <= 0 || tokens[i].id == kNotReached) continue;
    for (int32_t id : most_likely({logits.as<float>() + i * V, V}, want)) tokens[i].top.push_back({id, 0});
    most = std::max(most, tokens[i].top.size());
  }
  std::vector<int32_t> ids(rows.size());
  std::vector<float> logp(rows.size());
  for (size_t k = 0; k < most; ++k) {
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = k < tokens[i].top.size() ? tokens[i].top[k].id : 0;
    target_logp(host_, make_view(logp.data(), static_cast<int64_t>(logp.size())), logits, ids.data());
    for (size_t i = 0; i < ids.size(); ++i)
      if (k < tokens[i].top.size()) tokens[i].top[k].logp = logp[i];
  }
}

// `more`: the same step has another token for it.
void Engine::deliver(int64_t id, const Token& token, bool more) {
  Active& a = active_.at(id);
  if (token.id < 0) return finish(id, FinishReason::kStop);
  if (a.request.on_start && answer(id).empty()) a.request.on_start(scheduler_.reused(id));
  scheduler_.extend(id, token.id);
  const std::vector<int32_t>& stops = a.request.stop_ids;
  const SamplingOptions& o = a.request.sampling;
  const bool end = std::find(stops.begin(), stops.end(), token.id) != stops.end();
  const bool go_on = !a.request.on_token || a.request.on_token(token);
  if (!active_.contains(id)) return;  // aborted by its own callback
  const auto total = static_cast<int64_t>(scheduler_.tokens(id).size());
  if (!go_on || (end && !o.ignore_eos) || (!more && a.request.mask && a.request.mask->finished()))
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

std::string Engine::memory() const {
  return memory_table({packed_arena_.get(), &kv_.arena, &activations_, &scratch_, &host_scratch_});
}

}  // namespace puyu
