#include "serve/choices.h"

#include <ctime>

#include "serve/anthropic.h"
#include "serve/call_mask.h"
#include "serve/logprobs.h"
#include "serve/openai.h"

namespace puyu {

HttpReply error_reply(const ApiError& e, Api api) {
  const std::string body = api == Api::kAnthropic ? anthropic_error_body(e) : api_error_body(e);
  HttpReply r{e.status, body, "application/json", {}};
  if (e.status == 429) r.headers.emplace_back("Retry-After", "1");
  return r;
}

Choices::Choices(const ApiRequest& request, const LocalModel& model, std::shared_ptr<Exchange> exchange,
                 const std::string& id, std::function<void()> on_end)
    : request_(request),
      model_(model),
      exchange_(std::move(exchange)),
      writer_(make_writer(request, id, std::time(nullptr), exchange_)),
      on_end_(std::move(on_end)),
      left_(request.prompts.size() * static_cast<size_t>(request.n)) {
  for (size_t i = 0; i < left_; ++i)
    choices_.push_back({{model.tokenizer, request.sampling.stop, request.tools.names(), cat(id, "_", i)}});
}

Request Choices::request(const std::shared_ptr<Choices>& all, size_t index) {
  const ApiRequest& r = all->request_;
  const size_t from = index / static_cast<size_t>(r.n);
  Choice& c = all->choices_[index];
  Request q = all->model_.request(r.prompts[from], r.sampling, {}, {});
  q.sample = index % static_cast<size_t>(r.n);
  if (!r.ids[from].empty()) q.prompt = r.ids[from];
  c.answer.prompt_tokens = static_cast<int64_t>(q.prompt.size());
  if (r.echo) {
    c.prompt = q.prompt;
    if (all->wants_logprobs()) {
      q.prompt_logprobs = r.sampling.top_logprobs;
      q.on_prompt_token = [&c, all](const Token& t) { c.prompt_logps.push_back(t); };
    }
  }
  if (r.guide) q.mask = r.guide->mask();
  if (r.calls) q.mask = call_mask(all->model_.tokenizer, q.stop_ids, r.tools, r.calls, q.mask);
  q.on_start = [&c, all](int64_t cached) { c.answer.cached_tokens = cached; };
  q.on_token = [all, index](const Token& t) { return all->token(index, t); };
  q.on_finish = [all, index](FinishReason reason) { all->finish(index, reason); };
  return q;
}

void Choices::begin() {
  if (!request_.stream) return;
  std::vector<AnswerChoice> answers;
  for (const Choice& c : choices_) answers.push_back(c.answer);
  writer_->begin(answers);
}

void Choices::refuse() { refused_ = true; }

bool Choices::token(size_t index, const Token& t) {
  Choice& c = choices_[index];
  if (request_.stream && request_.echo && !c.echoed) echo(index);
  if (request_.no_answer) return true;
  const bool in_call = c.reader.in_call(), may_stop = ++c.answer.tokens >= request_.sampling.min_tokens;
  const std::vector<AnswerEvent> events = c.reader.push(t.id, may_stop);
  // Log-probs are those of the content.
  if (wants_logprobs() && !ends(t) && !in_call && !c.reader.in_call()) c.fresh.push_back(t);
  say(index, events);
  return !c.reader.stopped();
}

void Choices::say(size_t index, const std::vector<AnswerEvent>& events) {
  Choice& c = choices_[index];
  for (const AnswerEvent& e : events) {
    apply(e, c.answer.parts);
    if (!request_.stream) continue;
    const bool text = e.kind == AnswerEvent::Kind::kText;
    writer_->event(index, e, text ? logprobs(c, c.fresh) : Json());
    if (text) c.fresh.clear();
  }
}

// Log-probs of these tokens in the shape of the request; null where none were asked for.
Json Choices::logprobs(Choice& c, std::span<const Token> tokens) const {
  if (!wants_logprobs()) return {};
  return request_.chat ? chat_logprobs(model_.tokenizer, tokens)
                       : completion_logprobs(model_.tokenizer, {}, tokens, c.offset);
}

// The prompt as it was sent, or, where it was sent as ids, what they say.
std::string Choices::prompt_text(size_t index) const {
  const Prompt& p = request_.prompts[index / static_cast<size_t>(request_.n)];
  if (!p.text.empty()) return p.text;
  std::vector<int32_t> ids = choices_[index].prompt;  // those of a padded vocabulary have no text
  std::erase_if(ids, [&](int32_t id) { return id >= model_.tokenizer.vocab_size(); });
  return model_.tokenizer.decode(ids);
}

void Choices::echo(size_t index) {
  Choice& c = choices_[index];
  c.echoed = true;
  Json j;
  if (wants_logprobs())
    j = completion_logprobs(model_.tokenizer, std::span(c.prompt).first(1), c.prompt_logps, c.offset);
  writer_->event(index, {.text = prompt_text(index)}, std::move(j));
}

Json Choices::whole_logprobs(Choice& c) const {
  if (!wants_logprobs()) return {};
  std::vector<Token> all = c.prompt_logps;
  all.insert(all.end(), c.fresh.begin(), c.fresh.end());
  if (request_.chat) return chat_logprobs(model_.tokenizer, all);
  return completion_logprobs(model_.tokenizer, std::span(c.prompt).first(request_.echo ? 1 : 0), all, c.offset);
}

void Choices::finish(size_t index, FinishReason reason) {
  if (refused_) return;
  Choice& c = choices_[index];
  cut_ |= reason == FinishReason::kAborted;
  if (!cut_) say(index, c.reader.finish());
  c.answer.reason = reason;
  c.answer.stop_text = c.reader.stop_text();
  c.answer.full = reason == FinishReason::kLength && c.answer.tokens < request_.sampling.max_tokens;
  if (request_.stream && !cut_) writer_->last(index, c.answer, logprobs(c, c.fresh));
  if (--left_ == 0) end();
}

// The last of them ends the exchange.
void Choices::end() {
  on_end_();
  if (cut_) {
    const ApiError e(503, "the answer was cut off by the server");
    return request_.stream ? writer_->fail(e) : exchange_->reply(error_reply(e, request_.api));
  }
  std::vector<AnswerChoice> answers;
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (!request_.stream) choices_[i].answer.logprobs = whole_logprobs(choices_[i]);
    if (request_.echo) choices_[i].answer.echo = prompt_text(i);
    answers.push_back(std::move(choices_[i].answer));
  }
  if (request_.stream) return writer_->end(answers);
  exchange_->reply({200, writer_->whole(answers), "application/json", {}});
}

}  // namespace puyu
