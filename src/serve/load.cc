#include "serve/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/rng.h"

namespace puyu {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The text that an event carries: a chat's delta or a completion's text; of the first choice, as there is only one.
std::string text_of(const Json& event) {
  const Json* choices = event.find("choices");
  if (!choices || !choices->is_array() || choices->size() == 0) return "";
  const Json& c = choices->as_array()[0];
  if (const Json* delta = c.find("delta")) return delta->get("content", std::string());
  return c.get("text", std::string());
}

// One answer as it comes in.
struct Stream {
  LoadOutcome outcome;
  Clock::time_point sent, last;
  std::string server_error;
  bool has_text = false, has_usage = false, done = false;

  void event(const std::string& data) {
    if ((done = data == "[DONE]")) return;
    const Json j = Json::parse(data, "event");
    if (const Json* e = j.find("error"); e && !e->is_null())
      server_error = e->is_object() ? e->get("message", e->dump()) : e->dump();
    if (const Json* u = j.find("usage"); u && u->is_object()) {
      has_usage = true;
      outcome.input_tokens = u->at("prompt_tokens").as_int(),
      outcome.output_tokens = u->at("completion_tokens").as_int();
      if (const Json* d = u->find("prompt_tokens_details"); d && d->is_object())
        outcome.cached_tokens = d->get("cached_tokens", int64_t{0});
    }
    if (text_of(j).empty()) return;
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - (has_text ? last : sent)).count();
    if (std::exchange(has_text, true))
      outcome.itl.push_back(seconds);
    else
      outcome.ttft = seconds;
    last = now;
  }
  void end(const ClientReply& r) {
    outcome.latency = since(sent);
    if (!r.error.empty() || r.status != 200)
      outcome.error = what_went_wrong(r);
    else if (!server_error.empty())
      outcome.error = "the server broke off: " + server_error;
    else if (!done)
      outcome.error = "the stream ended without [DONE]";
    else if (!has_usage)
      outcome.error = "the stream has no usage";
  }
};

class Load {
 public:
  Load(const Url& url, const ClientOptions& client, const std::vector<ClientRequest>& requests,
       const LoadOptions& options, const std::function<void(const LoadOutcome&)>& on_done)
      : client_(url, client), requests_(requests), options_(options), on_done_(on_done), arrivals_(arrival_rng()) {
    result_.outcomes.resize(requests.size());
    for (LoadOutcome& o : result_.outcomes) o.error = "interrupted";  // until it is sent and answered
  }

  LoadResult run(const std::function<bool()>& should_stop) {
    begin_ = Clock::now();
    if (options_.request_rate > 0)
      arrive(0);
    else
      for (size_t i = 0; i < requests_.size(); ++i) due_.push_back(i);
    send_due();
    client_.run(should_stop);
    result_.seconds = since(begin_);
    return std::move(result_);
  }

 private:
  Rng arrival_rng() const { return Rng(static_cast<uint64_t>(options_.seed), 77); }

  // The next arrival is planned from the time at which this one was due, so that the rate does not sag under load.
  void arrive(size_t i) {
    if (i >= requests_.size()) return;
    due_.push_back(i);
    due_at_ += -std::log1p(-arrivals_.uniform()) / options_.request_rate;
    if (i + 1 < requests_.size())
      client_.after(std::max(0.0, due_at_ - since(begin_)), [this, i] {
        arrive(i + 1);
        send_due();
      });
  }

  void send_due() {
    while (!due_.empty() && (options_.max_concurrency == 0 || at_once_ < options_.max_concurrency)) {
      send(due_.front());
      due_.pop_front();
    }
  }

  void send(size_t i) {
    auto s = std::make_shared<Stream>();
    s->sent = Clock::now();
    s->outcome.start = since(begin_);
    result_.most_at_once = std::max(result_.most_at_once, ++at_once_);
    client_.send(
        requests_[i],
        [this, s, i](const ClientReply& r) {
          s->end(r);
          --at_once_;
          result_.outcomes[i] = std::move(s->outcome);
          if (on_done_) on_done_(result_.outcomes[i]);
          if (result_.outcomes[i].error != "interrupted") send_due();
        },
        [s](const std::string& data) { s->event(data); });
  }

  HttpClient client_;
  const std::vector<ClientRequest>& requests_;
  const LoadOptions& options_;
  const std::function<void(const LoadOutcome&)>& on_done_;
  Rng arrivals_;
  LoadResult result_;
  Clock::time_point begin_;
  double due_at_ = 0;
  std::deque<size_t> due_;
  int64_t at_once_ = 0;
};

}  // namespace

LoadResult run_load(const Url& url, const ClientOptions& client, const std::vector<ClientRequest>& requests,
                    const LoadOptions& options, const std::function<void(const LoadOutcome&)>& on_done,
                    const std::function<bool()>& should_stop) {
  return Load(url, client, requests, options, on_done).run(should_stop);
}

}  // namespace puyu
