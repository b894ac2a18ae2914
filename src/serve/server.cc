#include "serve/server.h"

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "base/log.h"
#include "serve/openai.h"

namespace puyu {
namespace {

// The engine's thread: runs what is posted to it between steps, and steps while there is work.
class EngineLoop {
 public:
  explicit EngineLoop(Engine& engine) : engine_(engine), thread_([this] { loop(); }) {}
  ~EngineLoop() {
    post({});
    thread_.join();
  }
  void post(std::function<void()> job) {  // an empty job ends the loop
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

 private:
  void loop() {
    for (bool idle = true;;) {
      std::deque<std::function<void()>> jobs;
      {
        std::unique_lock lock(mutex_);
        if (idle) wake_.wait(lock, [this] { return !jobs_.empty(); });
        jobs.swap(jobs_);
      }
      for (auto& job : jobs) {
        if (!job) return;
        job();
      }
      try {
        idle = !engine_.step();
      } catch (const std::exception& e) {  // memory, most likely: what runs cannot go on, what comes may
        log_error("[serve] a step failed, its requests are ended: ", e.what());
        engine_.abort_all();
      }
    }
  }

  Engine& engine_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::thread thread_;
};

HttpReply error_reply(const ApiError& e) {
  HttpReply r{e.status, api_error_body(e), "application/json", {}};
  if (e.status == 429) r.headers.emplace_back("Retry-After", "1");
  return r;
}

std::string random_id() {
  std::random_device device;
  return cat(device(), "-", device());
}

}  // namespace

struct Server::Impl {
  Impl(LocalModel& m, const ServeOptions& o)
      : model(m),
        options(o),
        created(std::time(nullptr)),
        http({o.host, o.port, o.max_body_bytes, 1024, o.timeout_seconds, o.grace_seconds},
             [this](const HttpRequest& r, const std::shared_ptr<Exchange>& x) { handle(r, x); }),
        loop(m.engine) {
    defaults.temperature = o.temperature, defaults.top_p = o.top_p;
  }
  void handle(const HttpRequest& r, const std::shared_ptr<Exchange>& x);
  HttpReply get(const std::string& path) const;
  void generate(const ApiRequest& r, const std::shared_ptr<Exchange>& x);
  void submit(const ApiRequest& r, const std::shared_ptr<Exchange>& x, int64_t& id);

  LocalModel& model;
  ServeOptions options;
  SamplingOptions defaults;
  int64_t created;
  std::atomic<int64_t> pending{0};
  HttpServer http;
  EngineLoop loop;  // after http: ends first, so no answer outlives the transport
};

void Server::Impl::handle(const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
  const bool chat = r.path == "/v1/chat/completions";
  try {
    if (!chat && r.path != "/v1/completions") {
      HttpReply reply = get(r.path);
      if (r.method != "GET") throw ApiError(405, cat(r.method, " ", r.path, ": expected GET"));
      return x->reply(std::move(reply));
    }
    if (r.method != "POST") throw ApiError(405, cat(r.method, " ", r.path, ": expected POST"));
    const ApiRequest request = parse_api_request(r.body, chat, options.name, defaults);
    if (pending >= options.max_queue)
      throw ApiError(429, cat("the queue of ", options.max_queue, " requests is full; try again"), "", "queue_full");
    generate(request, x);
  } catch (const ApiError& e) { x->reply(error_reply(e)); }
}

HttpReply Server::Impl::get(const std::string& path) const {
  if (path == "/health") return {200, "{\"status\":\"ok\"}", "application/json", {}};
  if (path == "/v1/models") return {200, api_models_body(options.name, created), "application/json", {}};
  if (path == "/v1/models/" + options.name) return {200, api_model_body(options.name, created), "application/json", {}};
  if (path.starts_with("/v1/models/"))
    throw ApiError(404, cat("no such model; this server has '", options.name, "'"), "model", "model_not_found");
  throw ApiError(404, cat("no such path: ", path, "; see GET /v1/models, POST /v1/chat/completions, /v1/completions"));
}

void Server::Impl::generate(const ApiRequest& r, const std::shared_ptr<Exchange>& x) {
  ++pending;
  auto id = std::make_shared<int64_t>(0);  // known, and used, on the engine's thread only
  x->on_disconnect = [this, id] { loop.post([this, id] { model.engine.abort(*id); }); };
  loop.post([this, r, x, id] {
    try {
      submit(r, x, *id);
    } catch (const Error& e) {
      --pending;
      x->reply(error_reply(ApiError(400, e.what(), r.chat ? "messages" : "prompt")));
    }
  });
}

void Server::Impl::submit(const ApiRequest& r, const std::shared_ptr<Exchange>& x, int64_t& id) {
  auto answer = std::make_shared<ApiAnswer>(r, options.name, random_id(), std::time(nullptr));
  auto on_text = [x, answer](const std::string& piece) {
    x->event(answer->text(piece));
    return true;
  };
  auto on_finish = [this, x, answer, stream = r.stream, usage = r.include_usage](const Generation& g) {
    --pending;
    if (g.reason == FinishReason::kAborted) {
      const ApiError e(503, "the answer was cut off by the server");
      if (!stream) return x->reply(error_reply(e));
      x->event(api_error_body(e));
      return x->end();
    }
    if (!stream) return x->reply({200, answer->whole(g), "application/json", {}});
    x->event(answer->last(g.reason));
    if (usage) x->event(answer->usage(g));
    x->event("[DONE]");
    x->end();
  };
  using OnText = std::function<bool(const std::string&)>;
  id = model.engine.submit(model.request(r.prompt, r.sampling, r.stream ? OnText(on_text) : OnText(), on_finish));
  if (const std::string first = answer->first(); r.stream && !first.empty()) x->event(first);
}

Server::Server(LocalModel& model, const ServeOptions& options) : impl_(std::make_unique<Impl>(model, options)) {}
Server::~Server() = default;
int Server::port() const { return impl_->http.port(); }
void Server::run(const std::function<bool()>& should_stop) { impl_->http.run(should_stop); }
void Server::stop() { impl_->http.stop(); }
int64_t Server::pending() const { return impl_->pending; }

}  // namespace puyu
