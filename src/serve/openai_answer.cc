#include "engine/local_generator.h"
#include "serve/answer.h"
#include "serve/openai.h"

namespace puyu {
namespace {

// A prompt counts once, however many answers it has.
Json usage_of(const std::vector<AnswerChoice>& choices, size_t n) {
  int64_t prompt = 0, answer = 0, cached = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i % n == 0) prompt += choices[i].prompt_tokens, cached += choices[i].cached_tokens;
    answer += choices[i].tokens;
  }
  Json u = Json::object();
  u["prompt_tokens"] = prompt;
  u["completion_tokens"] = answer;
  u["total_tokens"] = prompt + answer;
  u["prompt_tokens_details"]["cached_tokens"] = cached;
  return u;
}

// Which stop text it was, as vLLM tells; null for an end token or the limit.
void add_finish(Json& choice, const AnswerChoice& c) {
  choice["finish_reason"] = c.called() ? "tool_calls" : finish_reason_name(c.reason);
  choice["stop_reason"] = c.stop_text.empty() ? Json() : Json(c.stop_text);
}

Json call_of(const std::string& id, const std::string& name, const std::string& arguments) {
  Json j = Json::object();
  j["id"] = "call_" + id;
  j["type"] = "function";
  j["function"]["name"] = name;
  j["function"]["arguments"] = arguments;
  return j;
}

Json message_of(const AnswerChoice& c) {
  Json m = Json::object(), calls = Json::array();
  for (const AnswerPart& p : c.parts)
    if (p.call) calls.push(call_of(p.id, p.name, p.text));
  m["role"] = "assistant";
  const std::string text = c.text();
  m["content"] = calls.size() > 0 && text.empty() ? Json() : Json(text);
  if (calls.size() > 0) m["tool_calls"] = std::move(calls);
  return m;
}

// A stream's events: the role, pieces, the end of each choice, then usage if asked for, then "[DONE]".
class OpenAiWriter : public AnswerWriter {
 public:
  OpenAiWriter(const ApiRequest& r, const std::string& id, int64_t created, std::shared_ptr<Exchange> to)
      : chat_(r.chat),
        include_usage_(r.include_usage),
        n_(static_cast<size_t>(r.n)),
        model_(r.model),
        id_((r.chat ? "chatcmpl-" : "cmpl-") + id),
        created_(created),
        to_(std::move(to)) {}

  std::string whole(const std::vector<AnswerChoice>& choices) override {
    Json j = frame(chat_ ? "chat.completion" : "text_completion");
    j["choices"] = Json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      Json c = choice(i);
      if (chat_)
        c["message"] = message_of(choices[i]);
      else
        c["text"] = choices[i].echo + choices[i].text();
      c["logprobs"] = choices[i].logprobs;
      add_finish(c, choices[i]);
      j["choices"].push(std::move(c));
    }
    j["usage"] = usage_of(choices, n_);
    return j.dump();
  }

  void begin(const std::vector<AnswerChoice>& choices) override {
    calls_.resize(choices.size());
    for (size_t i = 0; i < choices.size() && chat_; ++i) {  // plain completions have no role to announce
      Json delta = Json::object();
      delta["role"] = "assistant";
      delta["content"] = "";
      send(i, std::move(delta), {});
    }
  }

  void event(size_t index, const AnswerEvent& e, Json logprobs) override {
    Json delta = Json::object();
    if (e.kind == AnswerEvent::Kind::kCallEnd) return;  // the next one's number or the end says it
    if (e.kind == AnswerEvent::Kind::kText) {
      delta[chat_ ? "content" : "text"] = e.text;
      return send(index, std::move(delta), std::move(logprobs));
    }
    Json call = Json::object();
    if (e.kind == AnswerEvent::Kind::kCall)
      ++calls_[index], call = call_of(e.id, e.name, "");
    else
      call["function"]["arguments"] = e.text;
    call["index"] = calls_[index] - 1;
    delta["tool_calls"] = Json(Json::Array{std::move(call)});
    send(index, std::move(delta), std::move(logprobs));
  }

  void last(size_t index, const AnswerChoice& done, Json logprobs) override {
    Json delta = Json::object();
    if (!chat_) delta["text"] = "";
    send(index, std::move(delta), std::move(logprobs), &done);
  }

  void end(const std::vector<AnswerChoice>& choices) override {
    if (include_usage_) {
      Json j = frame(chat_ ? "chat.completion.chunk" : "text_completion");
      j["choices"] = Json::array();
      j["usage"] = usage_of(choices, n_);
      to_->event(j.dump());
    }
    to_->event("[DONE]");
    to_->end();
  }

  void fail(const ApiError& e) override {
    to_->event(api_error_body(e));
    to_->end();
  }

 private:
  static Json choice(size_t index) {
    Json c = Json::object();
    c["index"] = index;
    return c;
  }
  Json frame(const char* object) const {
    Json j = Json::object();
    j["id"] = id_;
    j["object"] = object;
    j["created"] = created_;
    j["model"] = model_;
    return j;
  }
  // A chunk of one choice; `done` with its last one.
  void send(size_t index, Json delta, Json logprobs, const AnswerChoice* done = nullptr) {
    Json c = choice(index);
    if (chat_)
      c["delta"] = std::move(delta);
    else
      c["text"] = delta.at("text");
    if (!logprobs.is_null()) c["logprobs"] = std::move(logprobs);
    c["finish_reason"] = Json();
    if (done) add_finish(c, *done);
    Json j = frame(chat_ ? "chat.completion.chunk" : "text_completion");
    j["choices"] = Json(Json::Array{std::move(c)});
    if (include_usage_) j["usage"] = Json();
    to_->event(j.dump());
  }

  bool chat_, include_usage_;
  size_t n_;
  std::string model_, id_;
  int64_t created_;
  std::shared_ptr<Exchange> to_;
  std::vector<int64_t> calls_;  // begun, by choice
};

}  // namespace

std::unique_ptr<AnswerWriter> make_openai_writer(const ApiRequest& r, const std::string& id, int64_t created,
                                                 std::shared_ptr<Exchange> to) {
  return std::make_unique<OpenAiWriter>(r, id, created, std::move(to));
}

}  // namespace puyu
