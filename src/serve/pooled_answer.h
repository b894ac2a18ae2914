// The way of one request for embeddings or scores through the engine: its inputs are sequences beside those that
// generate, a few at a time, so that a long list neither fills the cache nor goes before everybody else's.
#pragma once
#include <memory>

#include "serve/call.h"
#include "serve/engine_loop.h"
#include "serve/metrics.h"
#include "serve/pooled.h"

namespace puyu {

class PooledAnswer : public std::enable_shared_from_this<PooledAnswer> {
 public:
  // place: held until the answer is sent. Throws ApiError 400 when an input can never run.
  PooledAnswer(PooledRequest request, const Request& like, std::shared_ptr<Call> call, std::shared_ptr<void> place,
               Engine& engine, EngineLoop& loop, Metrics& metrics);
  void start();  // any thread

 private:
  void feed();
  void ended(FinishReason reason);
  void cut();

  PooledRequest request_;
  Request like_;
  std::shared_ptr<Call> call_;
  std::shared_ptr<void> place_;
  Engine& engine_;
  EngineLoop& loop_;
  Metrics& metrics_;
  std::vector<std::vector<float>> out_;
  size_t next_ = 0, running_ = 0, left_;
  bool cut_ = false;
};

}  // namespace puyu
