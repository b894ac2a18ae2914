#include "serve/pooled_answer.h"

#include <utility>

#include "base/log.h"
#include "serve/choices.h"

namespace puyu {
namespace {

constexpr size_t kTogether = 16;  // inputs of one request in the engine

}  // namespace

PooledAnswer::PooledAnswer(PooledRequest request, const Request& like, std::shared_ptr<Call> call,
                           std::shared_ptr<void> place, Engine& engine, EngineLoop& loop, Metrics& metrics)
    : request_(std::move(request)),
      like_(like),
      call_(std::move(call)),
      place_(std::move(place)),
      engine_(engine),
      loop_(loop),
      metrics_(metrics),
      out_(request_.inputs.size()),
      left_(request_.inputs.size()) {
  Request q = like_;
  for (size_t i = 0; i < request_.inputs.size(); ++i) {
    q.prompt = request_.inputs[i];
    try {
      engine_.check(q);
    } catch (const Error& e) { throw ApiError(400, e.what(), left_ == 1 ? "input" : cat("input[", i, "]")); }
  }
}

void PooledAnswer::start() {
  loop_.post([self = shared_from_this()] { self->feed(); });
}

// On the engine's thread, as all that follows.
void PooledAnswer::feed() {
  while (next_ < out_.size() && running_ < kTogether && !cut_ && !call_->client->gone) {
    const size_t index = next_++;
    Request q = like_;
    q.prompt = request_.inputs[index];
    q.on_values = [self = shared_from_this(), index](std::span<const float> v) {
      self->out_[index].assign(v.begin(), v.end());
    };
    q.on_finish = [self = shared_from_this()](FinishReason reason) { self->ended(reason); };
    metrics_.watch(q, call_->arrival);
    ++running_;
    try {
      call_->client->ids.push_back(engine_.submit(std::move(q)));
    } catch (const std::exception& e) {  // memory, most likely
      log_error("[serve] an input could not be put in work: ", e.what());
      return cut();
    }
  }
}

void PooledAnswer::cut() {
  if (std::exchange(cut_, true)) return;
  place_.reset();
  call_->reply(error_reply(ApiError(503, "the answer was cut off by the server")));
}

void PooledAnswer::ended(FinishReason reason) {
  --running_, --left_;
  if (reason == FinishReason::kAborted) cut();
  if (cut_) return;
  if (left_ > 0) return start();  // not from here: the engine is in the middle of a step
  place_.reset();
  const bool value = like_.wants == Request::Wants::kValue;
  call_->reply({200, value ? score_body(request_, out_) : embeddings_body(request_, out_), "application/json", {}});
}

}  // namespace puyu
