#include "serve/server.h"

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <thread>

#include "base/hash.h"
#include "base/log.h"
#include "serve/anthropic.h"
#include "serve/call.h"
#include "serve/choices.h"
#include "serve/engine_loop.h"
#include "serve/metrics.h"
#include "serve/openai.h"
#include "serve/places.h"
#include "serve/pooled_answer.h"
#include "serve/responses.h"
#include "serve/tokens.h"
#include "serve/workers.h"

namespace puyu {
namespace {

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

Api api_of(const std::string& path) { return path.starts_with("/v1/messages") ? Api::kAnthropic : Api::kOpenAi; }

}  // namespace

struct Server::Impl {
  Impl(LocalModel& m, const ServeOptions& o)
      : model(m),
        options(o),
        created(std::time(nullptr)),
        keys(read_keys(o)),
        places(o.max_queue),
        guides(m.tokenizer, m.stop_ids),
        http(transport(o), [this](const HttpRequest& r, const std::shared_ptr<Exchange>& x) { handle(r, x); }),
        loop(m.engine),
        workers(kWorkers) {
    names = {o.name};
    for (const auto& [name, adapter] : m.adapters) names.push_back(name);
    if (m.adapters.contains(o.name)) fail("[serve] name: '", o.name, "' is also the name of an adapter");
    defaults = m.generation.sampling;
    defaults.temperature = o.temperature, defaults.top_p = o.top_p;
  }
  using To = std::shared_ptr<Call>;
  HttpOptions transport(const ServeOptions& o);
  void handle(const HttpRequest& r, const std::shared_ptr<Exchange>& x);
  void respond(const HttpRequest& r, const To& x);
  void route(const HttpRequest& r, const To& x);
  std::string check_key(const HttpRequest& r) const;
  void show_metrics(const To& x);
  void show_model(const HttpRequest& r, const To& x);
  void count_tokens(const HttpRequest& r, const To& x);
  void answer(ApiRequest request, const To& x);
  void generate(const ApiRequest& r, const To& x);
  void pool(PooledRequest request, Request::Wants wants, const To& x);
  void score(const HttpRequest& r, const To& x);
  Request like(const std::string& name, const Turn& turn, const Call& call) const;

  struct Route {
    const char *method, *path;
    void (*serve)(Impl& s, const HttpRequest& r, const To& x);
  };
  static const Route kRoutes[];
  static constexpr int kWorkers = 2;
  static constexpr int64_t kLeastWaiting = 64;  // requests that may wait for a worker, however short the queue

  LocalModel& model;
  ServeOptions options;
  SamplingOptions defaults;
  ModelNames names;
  int64_t created;
  std::vector<std::string> keys;  // empty: the server is open
  Places places;
  GuideCache guides;
  Metrics metrics;
  HttpServer http;
  EngineLoop loop;  // after http: ends first, so no answer outlives the transport
  Workers workers;  // ends before the loop that it posts to
};

// The key it carries.
std::string Server::Impl::check_key(const HttpRequest& r) const {
  if (keys.empty() || r.path == "/health") return "";
  const std::string bearer = "Bearer ";
  const std::string given = r.authorization.starts_with(bearer) ? r.authorization.substr(bearer.size()) : r.api_key;
  bool known = false;
  for (const std::string& key : keys) known |= same_key(given, key);
  if (!known)
    throw ApiError(401, "expected an API key that this server knows, as 'Authorization: Bearer KEY'", "",
                   "invalid_api_key");
  return given;
}

// A path that ends in / is the beginning of others.
const Server::Impl::Route Server::Impl::kRoutes[] = {
    {"GET", "/health", [](Impl&, const HttpRequest&, const To& x) { x->reply({200, "{\"status\":\"ok\"}"}); }},
    {"GET", "/metrics", [](Impl& s, const HttpRequest&, const To& x) { s.show_metrics(x); }},
    {"GET", "/v1/models",
     [](Impl& s, const HttpRequest&, const To& x) { x->reply({200, api_models_body(s.names, s.created)}); }},
    {"GET", "/v1/models/", [](Impl& s, const HttpRequest& r, const To& x) { s.show_model(r, x); }},
    {"POST", "/tokenize",
     [](Impl& s, const HttpRequest& r, const To& x) {
       const int64_t most = s.model.engine.context_length();
       x->reply({200, tokenize_body(s.model.tokenizer, most, r.body)});
     }},
    {"POST", "/detokenize",
     [](Impl& s, const HttpRequest& r, const To& x) { x->reply({200, detokenize_body(s.model.tokenizer, r.body)}); }},
    {"POST", "/v1/chat/completions",
     [](Impl& s, const HttpRequest& r, const To& x) {
       s.answer(parse_api_request(r.body, true, s.names, s.defaults), x);
     }},
    {"POST", "/v1/completions",
     [](Impl& s, const HttpRequest& r, const To& x) {
       s.answer(parse_api_request(r.body, false, s.names, s.defaults), x);
     }},
    {"POST", "/v1/responses",
     [](Impl& s, const HttpRequest& r, const To& x) {
       s.answer(parse_responses_request(r.body, s.names, s.defaults), x);
     }},
    {"POST", "/v1/messages",
     [](Impl& s, const HttpRequest& r, const To& x) {
       s.answer(parse_messages_request(r.body, false, s.names, s.defaults), x);
     }},
    {"POST", "/v1/messages/count_tokens", [](Impl& s, const HttpRequest& r, const To& x) { s.count_tokens(r, x); }},
    {"POST", "/v1/embeddings",
     [](Impl& s, const HttpRequest& r, const To& x) {
       const int64_t hidden = s.model.engine.config().hidden_size;
       s.pool(parse_embeddings(r.body, s.names, s.model.tokenizer, hidden), Request::Wants::kEmbedding, x);
     }},
    {"POST", "/v1/score", [](Impl& s, const HttpRequest& r, const To& x) { s.score(r, x); }},
};

// What the transport refuses by itself looks and counts like any other error.
HttpOptions Server::Impl::transport(const ServeOptions& o) {
  HttpOptions h = http_options(o);
  h.error_body = [this](int status, const std::string& message, const std::string& path) {
    metrics.refused(status);
    return error_reply(ApiError(status, message), api_of(path)).body;
  };
  return h;
}

// On the transport's thread: what has a body goes to the workers.
void Server::Impl::handle(const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
  auto call = std::make_shared<Call>();
  call->exchange = x;
  if (r.method != "POST") return respond(r, call);
  x->on_disconnect = [this, client = call->client] {
    client->gone = true;
    loop.post([this, client] {
      for (int64_t id : client->ids) model.engine.abort(id);
    });
  };
  if (workers.post([this, r, call] { respond(r, call); }, std::max(options.max_queue, kLeastWaiting))) return;
  metrics.refused(429);
  ApiError full(429, "too many requests wait to be read; try again", "", "queue_full");
  full.retry_after = 1;
  call->reply(error_reply(full, api_of(r.path)));
}

void Server::Impl::respond(const HttpRequest& r, const To& x) {
  auto refuse = [&](const ApiError& e) {
    metrics.refused(e.status);
    x->reply(error_reply(e, api_of(r.path)));
  };
  try {
    route(r, x);
  } catch (const ApiError& e) { refuse(e); } catch (const std::exception& e) {  // memory, most likely
    log_error("[serve] ", r.method, " ", r.path, ": ", e.what());
    refuse(ApiError(500, "the server could not handle this request; its log says why"));
  }
}

void Server::Impl::route(const HttpRequest& r, const To& x) {
  // A browser asks before it sends a key.
  if (r.method == "OPTIONS" && !options.cors_origin.empty())
    return x->reply({200,
                     "",
                     "text/plain",
                     {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                      {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, Anthropic-Version"},
                      {"Access-Control-Max-Age", "86400"}}});
  const std::string key = check_key(r);
  if (keys.size() > 1) x->key = key;
  const Route* known = nullptr;
  for (const Route& route : kRoutes) {
    const std::string_view path = route.path;
    if (path.ends_with('/') ? !r.path.starts_with(path) : r.path != path) continue;
    known = &route;
    if (r.method == route.method) return route.serve(*this, r, x);
  }
  if (known) throw ApiError(405, cat(r.method, " ", r.path, ": expected ", known->method));
  throw ApiError(404,
                 cat("no such path: ", r.path,
                     "; see GET /v1/models, POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages, ",
                     "/v1/embeddings"));
}

void Server::Impl::show_metrics(const To& x) {
  loop.post([this, x] {
    x->reply({200, metrics.page(model.engine, places.taken()), "text/plain; version=0.0.4; charset=utf-8", {}});
  });
}

void Server::Impl::show_model(const HttpRequest& r, const To& x) {
  for (const std::string& name : names)
    if (r.path == "/v1/models/" + name) return x->reply({200, api_model_body(name, created)});
  throw ApiError(404, cat("no such model; this server has '", options.name, "'"), "model", "model_not_found");
}

void Server::Impl::count_tokens(const HttpRequest& r, const To& x) {
  const ApiRequest request = parse_messages_request(r.body, true, names, defaults);
  Json j = Json::object();
  j["input_tokens"] = model.encode(request.prompts[0]).size();
  x->reply({200, j.dump()});
}

void Server::Impl::answer(ApiRequest request, const To& x) {
  for (auto [id, bias] : request.sampling.logit_bias)
    if (id >= model.engine.config().vocab_size)
      throw ApiError(
          400, cat("'logit_bias': token id ", id, " is outside the vocabulary of ", model.engine.config().vocab_size),
          "logit_bias");
  if (request.tools.offered() && !model.tokenizer.is_special("<|action_start|>"))
    throw ApiError(400, "'tools': this model's tokenizer has no <|action_start|>; it cannot call tools", "tools");
  request.guide = guides.get(request.guided);
  if (request.tools.offered()) request.calls = call_guide(request.tools, guides);
  generate(request, x);
}

// What requests for this model from this client have in common.
Request Server::Impl::like(const std::string& name, const Turn& turn, const Call& call) const {
  Request q;
  const auto adapter = model.adapters.find(name);
  q.adapter = adapter == model.adapters.end() ? -1 : adapter->second;
  q.claim = {turn.priority, hash64(call.key.empty() ? turn.user : call.key)};
  return q;
}

// All choices or none: when one cannot run, ApiError, and nothing was sent. After that a stream has its headers at
// once, whatever the engine is at.
void Server::Impl::generate(const ApiRequest& r, const To& x) {
  const size_t count = r.prompts.size() * static_cast<size_t>(r.n);
  auto place = places.take(static_cast<int64_t>(count));
  const Request common = like(r.model, r.turn, *x);
  auto all = std::make_shared<Choices>(r, model, x->exchange, random_id(), [place]() mutable { place.reset(); });
  place.reset();
  auto requests = std::make_shared<std::vector<Request>>();
  for (size_t i = 0; i < count; ++i) {
    Request& q = requests->emplace_back(Choices::request(all, i));
    q.adapter = common.adapter, q.claim = common.claim;
    metrics.watch(q, x->arrival);
    try {
      model.engine.check(q);
    } catch (const Error& e) { throw ApiError(400, e.what(), r.input); }
  }
  all->begin();
  loop.post([this, x, all, requests] {
    if (x->client->gone) return;
    try {
      for (Request& q : *requests) x->client->ids.push_back(model.engine.submit(std::move(q)));
    } catch (const std::exception& e) {  // memory, most likely
      log_error("[serve] a request could not be put in work: ", e.what());
      all->refuse(ApiError(503, "the server could not put this request in work"));
      for (int64_t id : x->client->ids) model.engine.abort(id);
    }
  });
}

void Server::Impl::pool(PooledRequest request, Request::Wants wants, const To& x) {
  Request common = like(request.model, request.turn, *x);
  common.wants = wants;
  std::make_shared<PooledAnswer>(std::move(request), common, x, places.take(1), model.engine, loop, metrics)->start();
}

void Server::Impl::score(const HttpRequest& r, const To& x) {
  if (model.engine.head() != Head::kValue)
    throw ApiError(400, "this model has no value head: it gives answers and no scores; serve a reward model", "model");
  if (!model.tokenizer.is_special("<|reward|>"))
    throw ApiError(400, "this model's tokenizer has no <|reward|>, the token that is scored", "model");
  pool(parse_score(r.body, names, model.tokenizer), Request::Wants::kValue, x);
}

Server::Server(LocalModel& model, const ServeOptions& options) : impl_(std::make_unique<Impl>(model, options)) {}
Server::~Server() = default;
int Server::port() const { return impl_->http.port(); }
void Server::run(const std::function<bool()>& should_stop) { impl_->http.run(should_stop); }
void Server::stop() { impl_->http.stop(); }
int64_t Server::pending() const { return impl_->places.taken(); }

}  // namespace puyu
