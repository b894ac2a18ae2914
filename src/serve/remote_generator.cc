#include "serve/remote_generator.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/signal.h"

namespace puyu {
namespace {

// One more try may help.
bool is_busy(const ClientReply& r) {
  return !r.error.empty() || r.status == 429 || r.status == 502 || r.status == 503 || r.status == 504;
}

constexpr double kFirstPause = 0.25, kLongestPause = 30;

// What the server asks for, or twice as long each time.
double pause_before(const ClientReply& r, int64_t tries) {
  const double own = kFirstPause * static_cast<double>(int64_t{1} << std::min<int64_t>(tries, 10));
  return std::min(kLongestPause, r.retry_after >= 0 ? r.retry_after : own);
}

// {"name": …, "parameters": {…}}, as the model writes a call, in OpenAI's form.
Json tool_call(const std::string& text, size_t index) {
  const Json call = Json::parse(text, "a tool call of the history");
  Json j = Json::object();
  j["id"] = cat("call_", index);
  j["type"] = "function";
  j["function"]["name"] = call.at("name");
  j["function"]["arguments"] = call.at("parameters").dump();
  return j;
}

Json messages_json(const std::vector<Message>& messages) {
  Json out = Json::array();
  for (const Message& m : messages) {
    Json j = Json::object();
    j["role"] = m.role;
    j["content"] = m.content;
    if (!m.name.empty()) j["name"] = m.name;
    for (size_t i = 0; i < m.calls.size(); ++i) j["tool_calls"].push(tool_call(m.calls[i], i));
    out.push(std::move(j));
  }
  return out;
}

Json texts_json(const std::vector<std::string>& texts) {
  Json out = Json::array();
  for (const std::string& t : texts) out.push(t);
  return out;
}

// What is not asked for is not sent: other servers know fewer fields than this one.
void add_sampling(const SamplingOptions& o, Json& body) {
  const SamplingOptions plain;
  body["max_tokens"] = o.max_tokens;
  body["temperature"] = o.temperature;
  body["top_p"] = o.top_p;
  if (o.top_k != plain.top_k) body["top_k"] = o.top_k;
  if (o.min_p != plain.min_p) body["min_p"] = o.min_p;
  if (o.repetition_penalty != plain.repetition_penalty) body["repetition_penalty"] = o.repetition_penalty;
  if (o.presence_penalty != plain.presence_penalty) body["presence_penalty"] = o.presence_penalty;
  if (o.frequency_penalty != plain.frequency_penalty) body["frequency_penalty"] = o.frequency_penalty;
  if (o.min_tokens != plain.min_tokens) body["min_tokens"] = o.min_tokens;
  if (o.ignore_eos) body["ignore_eos"] = true;
  if (!o.stop.empty()) body["stop"] = texts_json(o.stop);
  if (!o.bad_words.empty()) body["bad_words"] = texts_json(o.bad_words);
  if (o.repetition_ngram_size > 0) {
    body["repetition_ngram_size"] = o.repetition_ngram_size;
    body["repetition_ngram_threshold"] = o.repetition_ngram_threshold;
  }
  for (auto [id, bias] : o.logit_bias) body["logit_bias"][std::to_string(id)] = bias;
}

FinishReason reason_of(const std::string& name) {
  if (name == "length") return FinishReason::kLength;
  if (name == "repetition") return FinishReason::kLoop;
  if (name == "stop" || name == "tool_calls") return FinishReason::kStop;
  fail("[remote] finish_reason: expected stop, length or repetition, got '", name, "'");
}

Generation read_answer(const Json& j) {
  const Json& choice = j.at("choices").as_array().at(0);
  Generation g;
  g.text = choice.find("message") ? choice.at("message").get("content", std::string()) : choice.at("text").as_string();
  g.reason = reason_of(choice.at("finish_reason").as_string());
  if (const Json* s = choice.find("stop_reason"); s && s->is_string()) g.stop_text = s->as_string();
  const Json& usage = j.at("usage");
  g.prompt_tokens = usage.at("prompt_tokens").as_int(), g.tokens = usage.at("completion_tokens").as_int();
  if (const Json* d = usage.find("prompt_tokens_details")) g.cached_tokens = d->get("cached_tokens", int64_t{0});
  return g;
}

// Of an echoed prompt: log p of the tokens from `given` on, and whether each was the likeliest.
LogLikelihood read_score(const Json& j, size_t given, size_t tokens) {
  const Json& l = j.at("choices").as_array().at(0).at("logprobs");
  const Json::Array &own = l.at("token_logprobs").as_array(), &top = l.at("top_logprobs").as_array();
  if (own.size() != tokens || top.size() != tokens)
    fail("[remote] scoring: expected the log-probs of ", tokens, " echoed tokens, got ", own.size(), " and ",
         top.size());
  LogLikelihood out;
  out.greedy = true;
  for (size_t t = given; t < tokens; ++t) {
    const double logp = own[t].as_double();
    out.sum += logp, ++out.tokens;
    for (const auto& [text, other] : top[t].as_object()) out.greedy &= other.as_double() <= logp;
  }
  return out;
}

}  // namespace

std::vector<std::string> list_models(const Url& api, const std::string& api_key) {
  const ClientReply r = HttpClient(api).call({"GET", api.path + "/models", "", json_headers(api_key)}, interrupted);
  if (!r.error.empty() || r.status != 200) fail("[remote] GET ", api.base(), "/models: ", what_went_wrong(r));
  const Json list = Json::parse(r.body, "the list of models");
  std::vector<std::string> out;
  for (const Json& m : list.at("data").as_array()) out.push_back(m.at("id").as_string());
  return out;
}

std::string beside_v1(const Url& api, const std::string& name) {
  const std::string& p = api.path;
  return (p.ends_with("/v1") ? p.substr(0, p.size() - 3) : p) + name;
}

RemoteGenerator::RemoteGenerator(const std::string& url, const RemoteOptions& o, const std::string& api_key)
    : url_(parse_url(url)), options_(o), api_key_(api_key) {
  if (o.concurrency < 1 || o.retries < 0) fail("[remote] expected a concurrency of at least 1 and no negative retries");
  if (url_.path.empty()) url_.path = "/v1";
  const std::vector<std::string> models = list_models(url_, api_key_);
  if (options_.name.empty() && !models.empty()) options_.name = models[0];
  if (std::find(models.begin(), models.end(), options_.name) != models.end()) return;
  std::string known;
  for (const std::string& m : models) known += cat(known.empty() ? "'" : ", '", m, "'");
  fail("[remote] ", url_.base(), " has no model '", options_.name, "', only ", known.empty() ? "none" : known);
}

void RemoteGenerator::ask(const std::vector<Ask>& asks,
                          const std::function<void(size_t, const Json&)>& on_answer) const {
  ClientOptions o;
  o.timeout_seconds = options_.timeout_seconds;
  HttpClient client(url_, o);
  size_t next = 0;
  std::function<void(size_t, int64_t)> send = [&](size_t i, int64_t tries) {
    client.send({"POST", asks[i].target, asks[i].body.dump(), json_headers(api_key_)},
                [&, i, tries](const ClientReply& r) {
                  if (interrupted()) fail("[remote] interrupted");
                  if (is_busy(r) && tries < options_.retries)
                    return client.after(pause_before(r, tries), [&send, i, tries] { send(i, tries + 1); });
                  if (!r.error.empty() || r.status != 200)
                    fail("[remote] POST http://", url_.host, ":", url_.port, asks[i].target, ": ", what_went_wrong(r),
                         tries > 0 ? cat(" (sent ", tries + 1, " times)") : "");
                  try {
                    on_answer(i, Json::parse(r.body, "answer"));
                  } catch (const std::exception& e) {
                    fail("[remote] POST http://", url_.host, ":", url_.port, asks[i].target,
                         ": an answer that is none: ", e.what());
                  }
                  if (next < asks.size()) send(next++, 0);
                });
  };
  const auto first = std::min(asks.size(), static_cast<size_t>(options_.concurrency));
  while (next < first) send(next++, 0);
  client.run(interrupted);
  if (interrupted()) fail("[remote] interrupted");
}

std::vector<Generation> RemoteGenerator::generate(const std::vector<Prompt>& prompts, const SamplingOptions& options,
                                                  const std::function<void(size_t)>& done) {
  if (options.top_logprobs >= 0)
    fail("[remote] top_logprobs: an API gives texts of tokens and not their ids; run the model here for that");
  std::vector<Ask> asks;
  std::map<std::string, int64_t> seen;
  for (const Prompt& p : prompts) {
    Json body = Json::object();
    body["model"] = options_.name;
    if (p.messages.empty())
      body["prompt"] = p.text;
    else
      body["messages"] = messages_json(p.messages);
    add_sampling(options, body);
    // Prompts that are the same get answers of their own, as in the local engine, though not the same ones.
    const int64_t before = seen[body.dump()]++;
    body["seed"] = static_cast<int64_t>(static_cast<uint64_t>(options.seed) + static_cast<uint64_t>(before));
    asks.push_back({url_.path + (p.messages.empty() ? "/completions" : "/chat/completions"), std::move(body)});
  }
  std::vector<Generation> out(prompts.size());
  ask(asks, [&](size_t i, const Json& answer) {
    out[i] = read_answer(answer);
    if (done) done(i);
  });
  return out;
}

std::vector<std::vector<int32_t>> RemoteGenerator::tokenize(const std::vector<Json>& bodies) const {
  std::vector<Ask> asks;
  for (const Json& body : bodies) asks.push_back({beside_v1(url_, "/tokenize"), body});
  std::vector<std::vector<int32_t>> out(bodies.size());
  ask(asks, [&](size_t i, const Json& answer) {
    for (const Json& id : answer.at("tokens").as_array()) {
      const int64_t v = id.as_int();
      if (v < 0 || v > std::numeric_limits<int32_t>::max()) fail("token id ", v);
      out[i].push_back(static_cast<int32_t>(v));
    }
  });
  return out;
}

// As LocalGenerator: what the encodings of context and of context + continuation share is given.
std::vector<LogLikelihood> RemoteGenerator::loglikelihood(const std::vector<Pair>& pairs,
                                                          const std::function<void(size_t)>& done) {
  std::vector<Json> texts;
  std::map<std::string, size_t> index;  // the choices of one question share their context
  auto text = [&](const char* field, Json value, bool special) {
    Json body = Json::object();
    body["model"] = options_.name;
    body[field] = std::move(value);
    if (!special) body["add_special_tokens"] = false;
    const auto [at, fresh] = index.emplace(body.dump(), texts.size());
    if (fresh) texts.push_back(std::move(body));
    return at->second;
  };
  std::vector<std::pair<size_t, size_t>> parts;  // of `texts`: the context and the whole, or the rest after a chat
  for (const Pair& p : pairs)
    if (p.context.messages.empty())
      parts.emplace_back(text("prompt", p.context.text, true), text("prompt", p.context.text + p.continuation, true));
    else
      parts.emplace_back(text("messages", messages_json(p.context.messages), true),
                         text("prompt", p.continuation, false));
  const std::vector<std::vector<int32_t>> ids = tokenize(texts);
  std::vector<Ask> asks;
  std::vector<std::pair<size_t, size_t>> lengths;  // given, all
  for (size_t i = 0; i < pairs.size(); ++i) {
    const std::vector<int32_t>&context = ids[parts[i].first], &other = ids[parts[i].second];
    const bool chat = !pairs[i].context.messages.empty();
    std::vector<int32_t> all = chat ? context : other;
    if (chat) all.insert(all.end(), other.begin(), other.end());
    const auto given = static_cast<size_t>(std::mismatch(context.begin(), context.end(), all.begin(), all.end()).first -
                                           context.begin());
    if (all.size() == given) fail("[remote] a continuation to score is empty; expected some text");
    lengths.emplace_back(given, all.size());
    Json body = Json::object();
    body["model"] = options_.name;
    body["prompt"] = Json::array();
    for (int32_t id : all) body["prompt"].push(id);
    body["max_tokens"] = 0, body["echo"] = true, body["logprobs"] = 1;
    asks.push_back({url_.path + "/completions", std::move(body)});
  }
  std::vector<LogLikelihood> out(pairs.size());
  ask(asks, [&](size_t i, const Json& answer) {
    out[i] = read_score(answer, lengths[i].first, lengths[i].second);
    if (done) done(i);
  });
  return out;
}

}  // namespace puyu
