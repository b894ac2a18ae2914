#include "serve/server.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "base/log.h"
#include "serve/choices.h"
#include "serve/metrics.h"
#include "serve/openai.h"
#include "serve/tokens.h"

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

std::string random_id() {
  std::random_device device;
  return cat(device(), "-", device());
}

std::vector<std::string> read_keys(const ServeOptions& o) {
  std::vector<std::string> keys;
  if (!o.api_key.empty()) keys.push_back(o.api_key);
  if (const char* key = std::getenv("PUYU_API_KEY"); key && *key) keys.emplace_back(key);
  if (o.api_key_file.empty()) return keys;
  std::ifstream file(o.api_key_file);
  const size_t before = keys.size();
  for (std::string line; std::getline(file, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) keys.push_back(line);
  }
  // A file that holds nothing must not open the server to everybody.
  if (keys.size() == before) fail("[serve] api_key_file: expected a key a line in '", o.api_key_file, "', found none");
  return keys;
}

// Takes as long for a wrong key as for the right one.
bool same_key(const std::string& a, const std::string& b) {
  unsigned differ = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i)
    differ |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i % b.size()]));
  return differ == 0;
}

HttpOptions http_options(const ServeOptions& o) {
  HttpOptions h{o.host, o.port, o.max_body_bytes, 1024, o.timeout_seconds, o.grace_seconds, {}};
  if (o.cors_origin.find_first_of("\r\n") != std::string::npos) fail("[serve] cors_origin: expected one line");
  if (!o.cors_origin.empty()) h.headers = {{"Access-Control-Allow-Origin", o.cors_origin}, {"Vary", "Origin"}};
  return h;
}

}  // namespace

struct Server::Impl {
  Impl(LocalModel& m, const ServeOptions& o)
      : model(m),
        options(o),
        created(std::time(nullptr)),
        keys(read_keys(o)),
        guides(m.tokenizer, m.stop_ids),
        http(http_options(o), [this](const HttpRequest& r, const std::shared_ptr<Exchange>& x) { handle(r, x); }),
        loop(m.engine) {
    names = {o.name};
    for (const auto& [name, adapter] : m.adapters) names.push_back(name);
    if (m.adapters.contains(o.name)) fail("[serve] name: '", o.name, "' is also the name of an adapter");
    defaults = m.generation.sampling;
    defaults.temperature = o.temperature, defaults.top_p = o.top_p;
  }
  void handle(const HttpRequest& r, const std::shared_ptr<Exchange>& x);
  void check_key(const HttpRequest& r) const;
  HttpReply get(const std::string& path) const;
  void generate(const ApiRequest& r, const std::shared_ptr<Exchange>& x);
  void submit(const ApiRequest& r, const std::shared_ptr<Exchange>& x, Metrics::Clock::time_point arrival,
              std::vector<int64_t>& ids);

  LocalModel& model;
  ServeOptions options;
  SamplingOptions defaults;
  ModelNames names;
  int64_t created;
  std::vector<std::string> keys;  // empty: the server is open
  std::atomic<int64_t> pending{0};
  GuideCache guides;
  Metrics metrics;
  HttpServer http;
  EngineLoop loop;  // after http: ends first, so no answer outlives the transport
};

void Server::Impl::check_key(const HttpRequest& r) const {
  if (keys.empty() || r.path == "/health") return;
  const std::string bearer = "Bearer ";
  const std::string given = r.authorization.starts_with(bearer) ? r.authorization.substr(bearer.size()) : r.api_key;
  bool known = false;
  for (const std::string& key : keys) known |= same_key(given, key);
  if (!known)
    throw ApiError(401, "expected an API key that this server knows, as 'Authorization: Bearer KEY'", "",
                   "invalid_api_key");
}

void Server::Impl::handle(const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
  const bool chat = r.path == "/v1/chat/completions";
  try {
    // A browser asks before it sends a key.
    if (r.method == "OPTIONS" && !options.cors_origin.empty())
      return x->reply({200,
                       "",
                       "text/plain",
                       {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                        {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key"},
                        {"Access-Control-Max-Age", "86400"}}});
    check_key(r);
    const bool tokenize = r.path == "/tokenize";
    if (tokenize || r.path == "/detokenize") {
      if (r.method != "POST") throw ApiError(405, cat(r.method, " ", r.path, ": expected POST"));
      return x->reply({200,
                       tokenize ? tokenize_body(model.tokenizer, model.engine.context_length(), r.body)
                                : detokenize_body(model.tokenizer, r.body),
                       "application/json",
                       {}});
    }
    if (r.path == "/metrics" && r.method == "GET")
      return loop.post([this, x] {
        x->reply({200, metrics.page(model.engine, pending), "text/plain; version=0.0.4; charset=utf-8", {}});
      });
    if (!chat && r.path != "/v1/completions") {
      HttpReply reply = get(r.path);
      if (r.method != "GET") throw ApiError(405, cat(r.method, " ", r.path, ": expected GET"));
      return x->reply(std::move(reply));
    }
    if (r.method != "POST") throw ApiError(405, cat(r.method, " ", r.path, ": expected POST"));
    ApiRequest request = parse_api_request(r.body, chat, names, defaults);
    if (pending >= options.max_queue)
      throw ApiError(429, cat("the queue of ", options.max_queue, " requests is full; try again"), "", "queue_full");
    for (auto [id, bias] : request.sampling.logit_bias)
      if (id >= model.engine.config().vocab_size)
        throw ApiError(
            400, cat("'logit_bias': token id ", id, " is outside the vocabulary of ", model.engine.config().vocab_size),
            "logit_bias");
    if (request.tools.offered() && !model.tokenizer.is_special("<|action_start|>"))
      throw ApiError(400, "'tools': this model's tokenizer has no <|action_start|>; it cannot call tools", "tools");
    request.guide = guides.get(request.guided);
    generate(request, x);
  } catch (const ApiError& e) {
    metrics.refused(e.status);
    x->reply(error_reply(e));
  }
}

HttpReply Server::Impl::get(const std::string& path) const {
  if (path == "/health") return {200, "{\"status\":\"ok\"}", "application/json", {}};
  if (path == "/v1/models") return {200, api_models_body(names, created), "application/json", {}};
  for (const std::string& name : names)
    if (path == "/v1/models/" + name) return {200, api_model_body(name, created), "application/json", {}};
  if (path.starts_with("/v1/models/"))
    throw ApiError(404, cat("no such model; this server has '", options.name, "'"), "model", "model_not_found");
  throw ApiError(404, cat("no such path: ", path, "; see GET /v1/models, POST /v1/chat/completions, /v1/completions"));
}

void Server::Impl::generate(const ApiRequest& r, const std::shared_ptr<Exchange>& x) {
  ++pending;
  auto ids = std::make_shared<std::vector<int64_t>>();  // known, and used, on the engine's thread only
  x->on_disconnect = [this, ids] {
    loop.post([this, ids] {
      for (int64_t id : *ids) model.engine.abort(id);
    });
  };
  loop.post([this, r, x, ids, arrival = Metrics::Clock::now()] {
    try {
      submit(r, x, arrival, *ids);
    } catch (const Error& e) {
      --pending;
      metrics.refused(400);
      x->reply(error_reply(ApiError(400, e.what(), r.chat ? "messages" : "prompt")));
    }
  });
}

// All choices or none: when one cannot run, Error, and nothing was sent.
void Server::Impl::submit(const ApiRequest& r, const std::shared_ptr<Exchange>& x, Metrics::Clock::time_point arrival,
                          std::vector<int64_t>& ids) {
  const size_t count = r.prompts.size() * static_cast<size_t>(r.n);
  auto all = std::make_shared<Choices>(r, model, x, random_id(), [this] { --pending; });
  try {
    for (size_t i = 0; i < count; ++i) {
      Request q = Choices::request(all, i);
      const auto adapter = model.adapters.find(r.model);
      q.adapter = adapter == model.adapters.end() ? -1 : adapter->second;
      if (r.guide) q.mask = r.guide->mask();
      metrics.watch(q, arrival);
      ids.push_back(model.engine.submit(std::move(q)));
    }
  } catch (const Error&) {
    all->refuse();
    for (int64_t id : ids) model.engine.abort(id);
    throw;
  }
  all->begin();
}

Server::Server(LocalModel& model, const ServeOptions& options) : impl_(std::make_unique<Impl>(model, options)) {}
Server::~Server() = default;
int Server::port() const { return impl_->http.port(); }
void Server::run(const std::function<bool()>& should_stop) { impl_->http.run(should_stop); }
void Server::stop() { impl_->http.stop(); }
int64_t Server::pending() const { return impl_->pending; }

}  // namespace puyu
