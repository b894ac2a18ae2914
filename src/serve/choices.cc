#include "serve/choices.h"

#include <ctime>

#include "base/utf8.h"
#include "serve/logprobs.h"

namespace puyu {

HttpReply error_reply(const ApiError& e) {
  HttpReply r{e.status, api_error_body(e), "application/json", {}};
  if (e.retry_after > 0) r.headers.emplace_back("Retry-After", std::to_string(e.retry_after));
  return r;
}

Choices::Choices(const ApiRequest& request, const LocalModel& model, std::shared_ptr<Exchange> exchange,
                 const std::string& id, std::function<void()> on_end)
    : request_(request),
      model_(model),
      exchange_(std::move(exchange)),
      answer_(request, request.model, id, std::time(nullptr)),
      id_(id),
      on_end_(std::move(on_end)),
      choices_(request.prompts.size() * static_cast<size_t>(request.n)),
      left_(choices_.size()) {}

Request Choices::request(const std::shared_ptr<Choices>& all, size_t index) {
  const ApiRequest& r = all->request_;
  const size_t from = index / static_cast<size_t>(r.n);
  Choice& c = all->choices_[index];
  std::function<bool(const std::string&)> on_text;
  if (r.stream && !r.no_answer) on_text = [all, index](const std::string& text) { return all->piece(index, text); };
  Request q = all->model_.request(r.prompts[from], r.sampling, on_text,
                                  [all, index](const Generation& g) { all->finish(index, g); });
  q.sample = index % static_cast<size_t>(r.n);
  if (!r.ids[from].empty()) q.prompt = r.ids[from];
  if (r.echo) {
    c.prompt = q.prompt;
    if (all->wants_logprobs()) {
      q.prompt_logprobs = r.sampling.top_logprobs;
      q.on_prompt_token = [&c, all](const Token& t) { c.prompt_logps.push_back(t); };
    }
  }
  if (r.stream && (r.echo || all->wants_logprobs()))
    q.on_token = [all, index, next = q.on_token](const Token& t) {
      Choice& choice = all->choices_[index];
      if (all->request_.echo && !choice.echoed) all->echo(index);
      if (all->wants_logprobs() && !all->model_.is_stop(t.id)) choice.fresh.push_back(t);
      return next(t);
    };
  if (r.tools.offered()) add_calls(all, index, q);
  return q;
}

// A call ends the answer; its text does not go the way of content. What a user writes never becomes these ids.
void Choices::add_calls(const std::shared_ptr<Choices>& all, size_t index, Request& q) {
  const Tokenizer& t = all->model_.tokenizer;
  const int32_t start = t.special("<|action_start|>");
  q.stop_ids.push_back(t.special("<|action_end|>"));
  if (all->request_.tools.forced()) {
    all->choices_[index].in_call = true;
    const std::vector<int32_t> line = t.encode("\n");
    q.prompt.insert(q.prompt.end(), {start, t.special("<|plugin|>")});
    q.prompt.insert(q.prompt.end(), line.begin(), line.end());
  }
  q.on_token = [all, index, start, next = q.on_token](const Token& token) {
    Choice& c = all->choices_[index];
    if (!c.in_call && token.id != start) return next(token);
    c.in_call = true, ++c.call_tokens;
    if (token.id < all->model_.tokenizer.vocab_size()) c.call += all->model_.tokenizer.piece_bytes(token.id);
    return true;
  };
}

// What is no call of an offered tool is shown as it was written: nothing of an answer is lost.
void Choices::end_call(size_t index) {
  Choice& c = choices_[index];
  c.done.tokens += c.call_tokens;
  const std::string written = repair_utf8(c.call);
  if (const auto call = parse_call(written, request_.tools)) {
    c.tool_calls = Json(Json::Array{call_json(*call, cat("call_", id_, "_", index))});
    if (request_.stream) exchange_->event(answer_.tool_call(index, c.tool_calls.as_array()[0]));
    return;
  }
  const std::string shown = "<|action_start|><|plugin|>" + written;
  c.done.text += shown;
  if (request_.stream) exchange_->event(answer_.text(index, shown));
}

void Choices::begin() {
  if (request_.stream) exchange_->open();
  for (size_t i = 0; i < choices_.size() && request_.stream; ++i)
    if (const std::string first = answer_.first(i); !first.empty()) exchange_->event(first);
}

void Choices::refuse() { refused_ = true; }

// Log-probs of these tokens in the shape of the request; null where none were asked for.
Json Choices::logprobs(Choice& c, std::span<const Token> tokens) const {
  if (!wants_logprobs()) return {};
  return request_.chat ? chat_logprobs(model_.tokenizer, tokens)
                       : completion_logprobs(model_.tokenizer, {}, tokens, c.offset);
}

bool Choices::piece(size_t index, const std::string& text) {
  Choice& c = choices_[index];
  exchange_->event(answer_.text(index, text, logprobs(c, c.fresh)));
  c.fresh.clear();
  return true;
}

// The prompt as it was sent, or, where it was sent as ids, what they say.
std::string Choices::prompt_text(size_t index) const {
  const Prompt& p = request_.prompts[index / static_cast<size_t>(request_.n)];
  return p.text.empty() ? model_.tokenizer.decode(choices_[index].prompt) : p.text;
}

void Choices::echo(size_t index) {
  Choice& c = choices_[index];
  c.echoed = true;
  Json j;
  if (wants_logprobs())
    j = completion_logprobs(model_.tokenizer, std::span(c.prompt).first(1), c.prompt_logps, c.offset);
  exchange_->event(answer_.text(index, prompt_text(index), std::move(j)));
}

Json Choices::whole_logprobs(Choice& c) const {
  if (!wants_logprobs()) return {};
  std::vector<Token> all = c.prompt_logps;
  for (const Token& t : c.done.token_logps)
    if (!model_.is_stop(t.id) && !request_.no_answer) all.push_back(t);
  if (request_.chat) return chat_logprobs(model_.tokenizer, all);
  return completion_logprobs(model_.tokenizer, std::span(c.prompt).first(request_.echo ? 1 : 0), all, c.offset);
}

// The last of them ends the exchange.
void Choices::finish(size_t index, const Generation& g) {
  if (refused_) return;
  Choice& c = choices_[index];
  c.done = g;
  if (const auto n = request_.ids[index / static_cast<size_t>(request_.n)].size(); n > 0)
    c.done.prompt_tokens = static_cast<int64_t>(n);
  if (request_.no_answer) c.done.text.clear(), c.done.tokens = 0, c.fresh.clear();
  cut_ |= g.reason == FinishReason::kAborted;
  if (c.in_call && !cut_) end_call(index);
  if (request_.stream && !cut_) exchange_->event(answer_.last(index, g, logprobs(c, c.fresh), !c.tool_calls.is_null()));
  if (--left_ > 0) return;
  on_end_();
  if (cut_) {
    const ApiError e(503, "the answer was cut off by the server");
    if (!request_.stream) return exchange_->reply(error_reply(e));
    exchange_->event(api_error_body(e));
    return exchange_->end();
  }
  std::vector<Generation> done;
  std::vector<ChoiceExtra> extra;
  for (size_t i = 0; i < choices_.size(); ++i) {
    extra.push_back({request_.stream ? Json() : whole_logprobs(choices_[i]), std::move(choices_[i].tool_calls)});
    done.push_back(std::move(choices_[i].done));
    if (request_.echo) done.back().text = prompt_text(i) + done.back().text;
  }
  if (!request_.stream) return exchange_->reply({200, answer_.whole(done, std::move(extra)), "application/json", {}});
  if (request_.include_usage) exchange_->event(answer_.usage(done));
  exchange_->event("[DONE]");
  exchange_->end();
}

}  // namespace puyu
