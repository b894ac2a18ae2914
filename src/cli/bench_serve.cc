// puyu bench serve: load on an OpenAI endpoint, measured and told as LMDeploy's profile_restful_api.py does.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"
#include "cli/bench.h"
#include "cli/load_prompts.h"
#include "cli/load_report.h"
#include "cli/verbs.h"
#include "engine/gguf_tokenizer.h"
#include "engine/local_generator.h"
#include "serve/remote_generator.h"
#include "serve/server.h"

namespace puyu {
namespace {

struct Options {
  std::string url, model, tokenizer, api_key, dataset = "random", dataset_path, api = "completions";
  int64_t num_prompts = 1000, max_concurrency = 256, seed = 1, sharegpt_output_len = 0;
  std::string request_rate = "inf";
  RandomLengths random;
  bool ignore_eos = true, warmup = true, json = false;
  double temperature = 0, timeout_seconds = 600;
  std::string output;
  ModelOptions run;
  template <class F>
  void fields(F&& f) {
    f("url", url, "http://host:port/v1 of the server to measure");
    f("model", model, "the model's name there; empty = the first that the server lists");
    f("api_key", api_key, "the server's key; empty = PUYU_API_KEY of the environment");
    f("tokenizer", tokenizer, "model folder that counts tokens of the dataset; empty = the server's /tokenize");
    f("num_prompts", num_prompts, "requests to send");
    f("request_rate", request_rate, "requests a second, as a Poisson process; inf = all at once");
    f("max_concurrency", max_concurrency, "requests in work at once; 0 = no bound");
    f("api", api, "completions or chat");
    f("dataset", dataset, "random, sharegpt (then --dataset-path), or a ShareGPT file");
    f("dataset_path", dataset_path, "file of --dataset sharegpt");
    f("sharegpt_output_len", sharegpt_output_len, "tokens of every answer; 0 = as the dataset's answers");
    f("random_input_len", random.input, "tokens of the longest random prompt");
    f("random_output_len", random.output, "tokens of the longest answer to a random prompt");
    f("random_range_ratio", random.range_ratio, "the shortest is this share of the longest; 1 = all as long");
    f("seed", seed, "of prompts, lengths and arrivals");
    f("ignore_eos", ignore_eos, "answers are as long as asked for; false where the server does not know the field");
    f("temperature", temperature, "of the answers");
    f("warmup", warmup, "one request before the clock starts");
    f("timeout_seconds", timeout_seconds, "longest silence of the server before a request counts as failed");
    f("json", json, "print JSON");
    f("output", output, "write JSON with the numbers of every request to this file");
    f("run", run, "how MODEL runs, when it is a folder here");
  }
};

constexpr const char* kHelp =
    "Sends streamed requests to a server with OpenAI's API, or to one of its own over MODEL, and prints throughput "
    "and\n"
    "latencies as LMDeploy's and SGLang's serving benchmarks do. Tokens are counted by the server's usage. Failed "
    "requests\n"
    "are counted with their reasons and are in no other number. Exit code 1 when none succeeded, or on Ctrl-C.\n\n"
    "example: puyu bench serve --url http://127.0.0.1:23333/v1 --num-prompts 200 --request-rate 4\n"
    "         puyu bench serve runs/demo/model --dataset ShareGPT.json --output load.json\n";

double rate_of(const std::string& text) {  // 0: all at once
  if (text == "inf") return 0;
  char* end = nullptr;
  const double rate = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end || !std::isfinite(rate) || rate <= 0)
    throw UsageError("--request-rate: expected a number above 0 or inf, got '" + text + "'");
  return rate;
}

void check(const Options& o) {
  if (o.api != "completions" && o.api != "chat")
    throw UsageError("--api: expected completions or chat, got '" + o.api + "'");
  if (o.num_prompts < 1) throw UsageError("--num-prompts: expected at least 1");
  if (o.max_concurrency < 0) throw UsageError("--max-concurrency: expected 0 or more");
  if (o.random.input < 1 || o.random.output < 1)
    throw UsageError("--random-input-len and --random-output-len: expected at least 1");
  if (!(o.random.range_ratio >= 0 && o.random.range_ratio <= 1))
    throw UsageError("--random-range-ratio: expected 0 to 1");
  if (o.sharegpt_output_len != 0 && o.sharegpt_output_len < 4)
    throw UsageError("--sharegpt-output-len: expected at least 4, or 0");
  if (o.dataset == "sharegpt" && o.dataset_path.empty())
    throw UsageError("--dataset sharegpt: expected --dataset-path FILE, ShareGPT's JSON");
  if (o.dataset != "sharegpt" && !o.dataset_path.empty())
    throw UsageError("--dataset-path: only with --dataset sharegpt");
}

// A server over a model folder, for as long as the load lasts.
class OwnServer {
 public:
  OwnServer(const std::string& dir, const Options& o) : model_(dir, o.run), server_(model_, options(o)) {
    thread_ = std::thread([this] { server_.run(); });
  }
  ~OwnServer() {
    server_.stop();
    thread_.join();
  }
  std::string url() const { return cat("http://127.0.0.1:", server_.port(), "/v1"); }

 private:
  static ServeOptions options(const Options& o) {
    ServeOptions s;
    s.port = 0, s.name = "model", s.max_queue = std::max<int64_t>(s.max_queue, o.num_prompts), s.grace_seconds = 1;
    return s;
  }
  LocalModel model_;
  Server server_;
  std::thread thread_;
};

std::vector<LoadPrompt> prompts(const Options& o, const TokenSource& tokens) {
  if (o.dataset == "random") {
    auto out = random_prompts(tokens, o.random, o.num_prompts, o.seed);
    if (o.api == "chat")
      for (LoadPrompt& p : out) p.text = tokens.decode(p.ids), p.ids.clear();
    return out;
  }
  const std::string path = o.dataset == "sharegpt" ? o.dataset_path : o.dataset;
  auto out = sharegpt_prompts(path, tokens, o.sharegpt_output_len, o.num_prompts, o.seed);
  if (out.empty())
    fail("[bench] ", path, ": no conversation is left after the filter (4 to 1,024 tokens a prompt ...)");
  if (static_cast<int64_t>(out.size()) < o.num_prompts)
    log_warn("[bench] ", path, " has only ", out.size(), " of the ", o.num_prompts, " prompts asked for");
  return out;
}

ClientRequest request(const LoadPrompt& p, const Options& o, const Url& url, const std::string& model,
                      const std::string& key) {
  Json body = Json::object();
  body["model"] = model;
  if (o.api == "chat") {
    Json message = Json::object();
    message["role"] = "user", message["content"] = p.text;
    body["messages"].push(std::move(message));
  } else if (p.ids.empty()) {
    body["prompt"] = p.text;
  } else {
    for (int32_t id : p.ids) body["prompt"].push(id);
  }
  body["max_tokens"] = p.output_tokens;
  body["temperature"] = o.temperature;
  body["stream"] = true;
  body["stream_options"]["include_usage"] = true;
  if (o.ignore_eos) body["ignore_eos"] = true;
  return {"POST", url.path + (o.api == "chat" ? "/chat/completions" : "/completions"), body.dump(), json_headers(key)};
}

void warm_up(const Url& url, const ClientOptions& client, const ClientRequest& request) {
  const LoadOutcome o = run_load(url, client, {request}, {}, {}, interrupted).outcomes[0];
  if (!o.error.empty()) fail("[bench] the first request failed, so nothing was measured: ", o.error);
}

int measure(const Options& o, const Url& url, const Tokenizer* tokenizer) {
  const char* environment = std::getenv("PUYU_API_KEY");
  const std::string key = !o.api_key.empty() ? o.api_key : environment ? environment : "";
  const std::vector<std::string> models = o.model.empty() ? list_models(url, key) : std::vector{o.model};
  if (models.empty()) fail("[bench] ", url.base(), " lists no model; give --model NAME");
  const TokenSource tokens = tokenizer ? local_tokens(*tokenizer) : server_tokens(url, key);
  std::vector<ClientRequest> requests;
  for (const LoadPrompt& p : prompts(o, tokens)) requests.push_back(request(p, o, url, models[0], key));
  ClientOptions client;
  client.timeout_seconds = o.timeout_seconds;
  if (o.warmup) warm_up(url, client, requests[0]);
  Progress progress("bench serve", static_cast<int64_t>(requests.size()), "requests");
  int64_t failed = 0;
  const LoadResult result = run_load(
      url, client, requests, {rate_of(o.request_rate), o.max_concurrency, o.seed},
      [&](const LoadOutcome& x) {
        if (!x.error.empty()) progress.note(cat(++failed, " failed"));
        progress.add(1);
      },
      interrupted);
  progress.finish();
  const LoadReport report(result);
  const LoadHeader header{o.api == "chat" ? "openai-chat" : "openai", o.dataset, o.request_rate,
                          o.max_concurrency ? std::to_string(o.max_concurrency) : "not set"};
  if (!o.output.empty()) write_file(o.output, to_json(report, header, &result).dump() + "\n");
  std::printf("%s",
              o.json ? (to_json(report, header, nullptr).dump() + "\n").c_str() : to_text(report, header).c_str());
  return report.completed == 0 || interrupted() ? 1 : 0;
}

}  // namespace

int run_bench_serve(const std::vector<std::string>& argv) {
  static const Verb kVerb = {"bench", "puyu bench serve MODEL | --url http://host:port/v1 [options] [--json]",
                             "load on a server, its throughput and latencies", nullptr};
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != (o.url.empty() ? 1u : 0u))
    throw UsageError("serve: expected a MODEL folder, or --url http://host:port/v1 of a server that runs");
  check(o);
  rate_of(o.request_rate);
  std::optional<Tokenizer> tokenizer;
  if (!o.tokenizer.empty()) tokenizer = load_tokenizer(o.tokenizer);
  std::unique_ptr<OwnServer> own;
  if (o.url.empty()) own = std::make_unique<OwnServer>(a.positional[0], o);
  Url url = parse_url(own ? own->url() : o.url);
  if (url.path.empty()) url.path = "/v1";
  return measure(o, url, tokenizer ? &*tokenizer : nullptr);
}

}  // namespace puyu
