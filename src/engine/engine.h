// The engine: many requests at once through one model, token by token. Requests join and leave between steps
// (continuous batching), prompts are prefilled in chunks, keys and values live in pages.
//
// A request's tokens and log-probs are the same bits whatever else is in the batch, however its prompt is cut, however
// often it is preempted and whatever of it was in the prefix cache, and its log-probs are the bits of the training
// forward: all go through block_forward. Not thread-safe: one thread owns an engine (the server posts to it).
#pragma once
#include <functional>
#include <span>

#include "engine/drafter.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/token_mask.h"
#include "model/model.h"
#include "tensor/device.h"

namespace puyu {

struct EngineOptions {
  int64_t max_batch = 64;
  int64_t max_tokens_per_step = 512;
  int64_t kv_tokens = 0;
  std::string weights = "";
  int kv_bits = 0;
  bool prefix_cache = true;
  int64_t context = 0;
  double rope_factor = 0;
  std::string draft = "";
  int draft_tokens = 5;
  int64_t draft_batch = 8;
  int64_t ageing_tokens = 32768;
  std::string device = "cpu";  // ModelOptions' --device; not in the option list
  bool batch_invariant = true;
  template <class F>
  void fields(F&& f) {
    f("max_batch", max_batch, "sequences that run at once");
    f("max_tokens_per_step", max_tokens_per_step, "tokens of one step: long prompts are prefilled in such chunks");
    f("kv_tokens", kv_tokens, "tokens that the key-value cache holds; 0 = one longest sequence or 512 a sequence");
    f("weights", weights,
      "w8a8 = products in int8, weights by output row and activations by token; w4a8 = weights of the blocks in 4 "
      "bits, groups of 128, activations in int8 by token and group, the head as in w8a8; w4a16 = the same weights, "
      "activations and the head as loaded; empty = as stored");
    f("kv_bits", kv_bits, "8 or 4 = keys and values quantised by token and head; 0 = as computed");
    f("prefix_cache", prefix_cache, "keep the keys and values of finished requests for prompts that begin alike");
    f("context", context, "longest prompt and answer together; 0 = what the model's positions are made for");
    f("rope_factor", rope_factor,
      "dynamic NTK scaling by this factor for prompts longer than the model's max_position; 0 = as the model says");
    f("draft", draft, "ngram = guess the next tokens from the prompt and the answer so far; same answers, sooner");
    f("draft_tokens", draft_tokens, "guesses a sequence and step, at most");
    f("draft_batch", draft_batch, "guess only while at most so many sequences are in work");
    f("ageing_tokens", ageing_tokens,
      "a request goes before those of the next lower class until so many tokens later; smaller = classes matter less");
    f("batch_invariant", batch_invariant,
      "an answer does not depend on what else is in work, to the bit; false = faster on a GPU (always so on the CPU)");
  }
};

struct Request {
  std::vector<int32_t> prompt;
  SamplingOptions sampling;  // `stop` is text and thus the caller's: on_token says when
  std::vector<int32_t> stop_ids;
  uint64_t sample = 0;  // draws another answer for the same prompt and seed
  // Each chosen token. With temperature 1 and no filter its log-prob is also that of the distribution it was drawn
  // from. A stop id is delivered too, as the last token. Returns false to end the answer here (a stop string).
  std::function<bool(const Token&)> on_token;
  std::function<void(FinishReason)> on_finish;
  std::vector<std::vector<int32_t>> bad_ids = {};  // sequences of ids that must not appear in the answer
  std::shared_ptr<TokenMask> mask = {};            // guided decoding
  // Before the first token: how many of the prompt's tokens were in the prefix cache.
  std::function<void(int64_t cached)> on_start = {};
  // Log-probs of the prompt's own tokens, from the second on, with so many alternatives each; -1: none. Such a prompt
  // is computed whole, whatever of it is in the prefix cache.
  int prompt_logprobs = -1;
  std::function<void(const Token&)> on_prompt_token = {};
  bool prompt_alone = false;  // these are all that is wanted: the prompt may fill the context
  int adapter = -1;           // of Engine::add_adapter; -1 = the model as it is
  Claim claim = {};           // class and client (fair_queue.h)
  // Instead of an answer: the mean over the prompt's tokens of the hidden states after the last norm, or the value head
  // on the last token. Such a request ends (kStop) with on_values.
  enum class Wants { kAnswer, kEmbedding, kValue };
  Wants wants = Wants::kAnswer;
  std::function<void(std::span<const float>)> on_values = {};
};

// The model's shape with the RoPE scaling that the options ask for; Error when they ask for what it cannot be.
ModelConfig serving_config(ModelConfig c, const EngineOptions& o);
int64_t context_of(const ModelConfig& c, const EngineOptions& o);    // c: of serving_config(); likewise
int64_t cache_tokens(const ModelConfig& c, const EngineOptions& o);  // c: of serving_config()

struct Rollout {
  std::vector<int32_t> tokens;  // the answer, its stop id included
  std::vector<float> logp;      // of each token, as in Request::on_token
  FinishReason reason = FinishReason::kStop;
};

class Engine {
 public:
  // Uses `weights` as they are; call refresh() after changing them in place. They must outlive the engine.
  explicit Engine(Weights& weights, const EngineOptions& options = {});

  // Packs the weights again and picks up a new RoPE base. Not while requests are in work.
  void refresh();

  // A LoRA adapter (model/lora.h) for requests that name the number given back.
  int add_adapter(const std::string& dir);

  // Guesses for all requests from now on; none turns guessing off.
  void set_drafter(std::unique_ptr<Drafter> drafter) { drafter_ = std::move(drafter); }

  // Throws Error when the request can never run (empty, too long, ids outside the vocabulary, bad options, not what the
  // model's head does). Any thread may ask, once all adapters are there.
  void check(const Request& request) const;
  int64_t submit(Request request);  // check(), and in work from now on
  bool step();                      // false when nothing is left to do
  void abort(int64_t id);           // frees its pages at once, on_finish(kAborted); an unknown id is ignored
  void abort_all();

  // Runs all of them to the end. interrupted() ends what is left with kAborted, and so does an Error.
  void run(std::vector<Request> requests);

  // All prompts to the end, in their order; interrupted() ends them with kAborted. Equal prompts draw different
  // answers; apart from that a prompt's answer does not depend on its companions.
  std::vector<Rollout> generate_tokens(const std::vector<std::vector<int32_t>>& prompts,
                                       const SamplingOptions& sampling, std::span<const int32_t> stop_ids);

  // Scores given tokens: for each sequence, of each token after the first, its log-prob and whether it was the most
  // likely. [i] belongs to token i + 1. adapter: as in Request. A quantised cache is scored as it answers: through the
  // cache (score.cc). `done` comes in any order.
  struct Score {
    std::vector<float> logp;
    std::vector<uint8_t> greedy;
  };
  void score(const std::vector<std::vector<int32_t>>& sequences,
             const std::function<void(size_t index, const Score&)>& done, int adapter = -1);

  const ModelConfig& config() const { return weights_.config; }
  Head head() const { return weights_.head; }
  const Scheduler& scheduler() const { return scheduler_; }
  int64_t active() const { return static_cast<int64_t>(active_.size()); }
  int64_t context_length() const;  // the longest prompt + answer
  std::string memory() const;
  int64_t drafted_tokens() const { return drafted_tokens_; }    // guesses that were run, of them …
  int64_t accepted_tokens() const { return accepted_tokens_; }  // … right

 private:
  struct Active {
    Request request;  // its prompt is with the scheduler
    size_t prompt = 0;
    uint64_t stream = 0;
    std::shared_ptr<const RopeAngles> rope;
    size_t scored = 0;        // tokens of the prompt whose log-probs were delivered
    int guesses = 0;          // to ask for: fewer when the last ones were wrong
    std::vector<double> sum;  // kEmbedding: of the hidden states of …
    size_t pooled = 0;        // … so many tokens
  };
  // A row of logits: what follows the first `history` tokens of a sequence, guesses included. `given`: what follows is
  // the prompt's next token.
  struct Row {
    int64_t id;
    size_t history;
    bool given = false;
  };
  std::span<const int32_t> answer(int64_t id) const;
  std::shared_ptr<const RopeAngles> rope_for(int64_t prompt_tokens) const;
  void guess();
  Tensor forward(const std::vector<Scheduler::Work>& work, std::vector<Row>& rows);
  std::vector<Token> choose(Tensor logits, const std::vector<Row>& rows);
  void add_rows(const Scheduler::Work& w, std::vector<Row>& rows) const;
  int32_t choose_one(const Row& row, std::span<float> logits) const;
  bool next_is_due(const Row& row, int32_t chosen) const;
  void count_guesses(const std::vector<Row>& rows, const std::vector<Token>& tokens);
  void add_top(Tensor logits, const std::vector<Row>& rows, std::vector<Token>& tokens);
  void score_cached(const std::vector<std::vector<int32_t>>& sequences,
                    const std::function<void(size_t, const Score&)>& done, int adapter);
  std::vector<Score> score_batch(const Batch& b, int adapter);
  Tensor rope_rows(const std::vector<const RopeAngles*>& angles, const std::vector<int32_t>& positions);
  Tensor to_host(Tensor t) { return place_in(host_scratch_, t, ctx_.stream); }
  void pool(const std::vector<Scheduler::Work>& work, Tensor x);
  void deliver_values(const std::vector<Scheduler::Work>& work);
  void deliver(int64_t id, const Token& token, bool more);
  void finish(int64_t id, FinishReason reason);
  void check_ids(std::span<const int32_t> ids) const;
  void check_adapter(int adapter) const;

  Weights& weights_;
  EngineOptions options_;
  Arena scratch_, activations_;  // on the device
  Arena host_scratch_;
  Ctx ctx_, host_;  // the device's, and the CPU's for what is read and chosen there
  std::unique_ptr<Arena> packed_arena_;
  Model<Tensor> packed_;
  Tensor output_;
  ModelConfig rope_config_;                 // with the scaling that was asked for
  std::shared_ptr<const RopeAngles> rope_;  // of prompts within max_position
  std::unique_ptr<Drafter> drafter_;
  std::vector<Lora> adapters_;
  int64_t drafted_tokens_ = 0, accepted_tokens_ = 0;
  Scheduler scheduler_;
  KvPages kv_;
  std::unordered_map<int64_t, Active> active_;
  int64_t next_id_ = 1;
};

}  // namespace puyu
