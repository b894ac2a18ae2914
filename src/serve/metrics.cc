#include "serve/metrics.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "engine/local_generator.h"

namespace puyu {
namespace {

double seconds(Metrics::Clock::time_point from, Metrics::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void head(const std::string& name, const char* type, const std::string& help, std::string& to) {
  to += cat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}
void value(const std::string& name, const char* type, const std::string& help, int64_t v, std::string& to) {
  head(name, type, help, to);
  to += cat(name, " ", v, "\n");
}

}  // namespace

void Histogram::add(double s) {
  sum_ += s;
  ++counts_[static_cast<size_t>(std::lower_bound(kBounds.begin(), kBounds.end(), s) - kBounds.begin())];
}

void Histogram::print(const std::string& name, const std::string& help, std::string& to) const {
  head(name, "histogram", help, to);
  int64_t below = 0;
  for (size_t i = 0; i < kBounds.size(); ++i)
    to += cat(name, "_bucket{le=\"", kBounds[i], "\"} ", below += counts_[i], "\n");
  below += counts_.back();
  to += cat(name, "_bucket{le=\"+Inf\"} ", below, "\n", name, "_sum ", sum_, "\n", name, "_count ", below, "\n");
}

void Metrics::watch(Request& q, Clock::time_point arrival) {
  struct State {
    Clock::time_point first, last;
    int64_t tokens = 0;
    bool started = false;  // a preempted sequence starts again
  };
  auto s = std::make_shared<State>();
  const auto prompt = static_cast<int64_t>(q.prompt.size());
  q.on_start = [this, s, arrival, next = q.on_start](int64_t cached) {
    if (!std::exchange(s->started, true)) queue_.add(seconds(arrival, Clock::now()));
    if (next) next(cached);
  };
  q.on_token = [this, s, arrival, next = q.on_token](const Token& t) {
    s->last = Clock::now();
    ++answer_tokens_;
    if (s->tokens++ == 0) first_token_.add(seconds(arrival, s->first = s->last));
    return !next || next(t);
  };
  q.on_finish = [this, s, arrival, prompt, next = q.on_finish](FinishReason reason) {
    ++finished_[finish_reason_name(reason)];
    if (s->tokens > 0) prompt_tokens_ += prompt;
    if (s->tokens > 1) per_token_.add(seconds(s->first, s->last) / static_cast<double>(s->tokens - 1));
    if (reason != FinishReason::kAborted) whole_.add(seconds(arrival, Clock::now()));
    if (next) next(reason);
  };
}

void Metrics::refused(int status) {
  std::lock_guard lock(mutex_);
  ++refused_[status];
}

std::string Metrics::page(const Engine& e, int64_t pending) const {
  const Scheduler& s = e.scheduler();
  std::string out;
  head("puyu_answers_total", "counter", "Answers that ended, by reason.", out);
  for (const char* reason : {"stop", "length", "repetition", "aborted"}) {
    const auto it = finished_.find(reason);
    out += cat("puyu_answers_total{reason=\"", reason, "\"} ", it == finished_.end() ? 0 : it->second, "\n");
  }
  head("puyu_refused_total", "counter", "Requests refused before any work, by HTTP status.", out);
  {
    std::lock_guard lock(mutex_);
    for (auto [status, n] : refused_) out += cat("puyu_refused_total{status=\"", status, "\"} ", n, "\n");
  }
  value("puyu_requests_pending", "gauge", "Requests in work or waiting.", pending, out);
  value("puyu_sequences_running", "gauge", "Sequences in the batch.", s.running(), out);
  value("puyu_sequences_waiting", "gauge", "Sequences that wait for a place or for memory.", s.waiting(), out);
  value("puyu_kv_tokens_capacity", "gauge", "Tokens that the key-value cache holds.", s.total_pages() * kPage, out);
  value("puyu_kv_tokens_used", "gauge", "Of them in use by sequences, in whole pages.",
        (s.total_pages() - s.free_pages()) * kPage, out);
  value("puyu_prompt_tokens_total", "counter", "Tokens of prompts that were answered.", prompt_tokens_, out);
  value("puyu_answer_tokens_total", "counter", "Tokens of answers.", answer_tokens_, out);
  value("puyu_prefix_cache_queries_total", "counter", "Tokens looked up in the prefix cache.", s.admitted_tokens(),
        out);
  value("puyu_prefix_cache_hits_total", "counter", "Of them found.", s.reused_tokens(), out);
  value("puyu_preemptions_total", "counter", "Sequences that gave up their memory and were computed again.",
        s.preemptions(), out);
  value("puyu_draft_tokens_total", "counter", "Guessed tokens that were run.", e.drafted_tokens(), out);
  value("puyu_draft_accepted_total", "counter", "Of them right.", e.accepted_tokens(), out);
  queue_.print("puyu_queue_seconds", "From the request's arrival to its place in the batch.", out);
  first_token_.print("puyu_time_to_first_token_seconds", "From the request's arrival to its first token.", out);
  per_token_.print("puyu_time_per_output_token_seconds", "Between tokens, mean of each answer.", out);
  whole_.print("puyu_answer_seconds", "From the request's arrival to the answer's end.", out);
  return out;
}

}  // namespace puyu
