#include "serve/answer.h"
#include "serve/anthropic.h"

namespace puyu {
namespace {

const char* stop_reason(const AnswerChoice& c) {
  if (c.reason == FinishReason::kLength) return c.full ? "model_context_window_exceeded" : "max_tokens";
  if (!c.stop_text.empty()) return "stop_sequence";
  return c.called() ? "tool_use" : "end_turn";
}

Json stop_of(const AnswerChoice& c) {
  Json j = Json::object();
  j["stop_reason"] = stop_reason(c);
  j["stop_sequence"] = c.stop_text.empty() ? Json() : Json(c.stop_text);
  return j;
}

// As Anthropic counts: what came out of the cache is not part of the input.
Json usage_of(const AnswerChoice& c) {
  Json u = Json::object();
  u["input_tokens"] = c.prompt_tokens - c.cached_tokens;
  u["cache_creation_input_tokens"] = 0;
  u["cache_read_input_tokens"] = c.cached_tokens;
  u["output_tokens"] = c.tokens;
  return u;
}

// The arguments of a call, or null where they are no JSON: cut off, or with a key that stands there twice.
Json input_of(const AnswerPart& p) {
  if (!p.complete) return {};
  try {
    return Json::parse(p.text, "call");
  } catch (const Error&) { return {}; }  // the caller shows what was written
}

// A content block. What has no input that could stand in a body is text, as the model wrote it.
Json block_of(const AnswerPart& p, bool begins) {
  Json j = Json::object();
  Json input = begins ? Json::object() : p.call ? input_of(p) : Json();
  if (p.call && !input.is_null()) {
    j["type"] = "tool_use";
    j["id"] = "toolu_" + p.id;
    j["name"] = p.name;
    j["input"] = std::move(input);
    return j;
  }
  const std::string written =
      cat("<|action_start|><|plugin|>\n{\"name\": ", Json(p.name).dump(), ", \"parameters\": ", p.text);
  j["type"] = "text";
  j["text"] = begins ? "" : p.call ? written : p.text;
  return j;
}

// A stream of named events: message_start; of each block _start, its pieces, _stop; message_delta with the end and the
// counts; message_stop.
class AnthropicWriter : public AnswerWriter {
 public:
  AnthropicWriter(const ApiRequest& r, const std::string& id, std::shared_ptr<Exchange> to)
      : model_(r.model), id_(id), to_(std::move(to)) {}

  std::string whole(const std::vector<AnswerChoice>& choices) override {
    const AnswerChoice& c = choices[0];
    Json content = Json::array();
    for (const AnswerPart& p : c.parts) content.push(block_of(p, false));
    return message(std::move(content), stop_of(c), usage_of(c)).dump();
  }

  void begin(const std::vector<AnswerChoice>& choices) override {
    Json none = Json::object(), j = Json::object();
    none["stop_reason"] = Json();
    none["stop_sequence"] = Json();
    j["message"] = message(Json::array(), none, usage_of(choices[0]));
    send("message_start", j);
  }

  void event(size_t, const AnswerEvent& e, Json) override {
    const bool text = e.kind == AnswerEvent::Kind::kText;
    if (!parts_.empty() && !parts_.back().call && !text) stop_block();
    const size_t before = parts_.size();
    apply(e, parts_);
    if (parts_.size() > before) {
      Json j = place();
      j["content_block"] = block_of(parts_.back(), true);
      send("content_block_start", j);
    }
    if (e.kind == AnswerEvent::Kind::kCallEnd) return stop_block();
    if (e.kind == AnswerEvent::Kind::kCall) return;
    Json j = place();
    j["delta"]["type"] = text ? "text_delta" : "input_json_delta";
    j["delta"][text ? "text" : "partial_json"] = e.text;
    send("content_block_delta", j);
  }

  void last(size_t, const AnswerChoice& done, Json) override {
    if (!parts_.empty() && !parts_.back().call) stop_block();
    Json j = Json::object();
    j["delta"] = stop_of(done);
    j["usage"] = usage_of(done);
    send("message_delta", j);
  }

  void end(const std::vector<AnswerChoice>&) override {
    send("message_stop", Json::object());
    to_->end();
  }

  void fail(const ApiError& e) override {
    to_->event(anthropic_error_body(e), "error");
    to_->end();
  }

 private:
  Json message(Json content, const Json& stop, Json usage) const {
    Json j = Json::object();
    j["id"] = "msg_" + id_;
    j["type"] = "message";
    j["role"] = "assistant";
    j["model"] = model_;
    j["content"] = std::move(content);
    for (const auto& [key, value] : stop.as_object()) j[key] = value;
    j["usage"] = std::move(usage);
    return j;
  }
  Json place() const {
    Json j = Json::object();
    j["index"] = parts_.size() - 1;
    return j;
  }
  void stop_block() { send("content_block_stop", place()); }
  void send(const char* type, const Json& body) {
    Json j = Json::object();
    j["type"] = type;
    for (const auto& [key, value] : body.as_object()) j[key] = value;
    to_->event(j.dump(), type);
  }

  std::string model_, id_;
  std::shared_ptr<Exchange> to_;
  std::vector<AnswerPart> parts_;  // of the stream, so far
};

}  // namespace

std::unique_ptr<AnswerWriter> make_anthropic_writer(const ApiRequest& r, const std::string& id,
                                                    std::shared_ptr<Exchange> to) {
  return std::make_unique<AnthropicWriter>(r, id, std::move(to));
}

}  // namespace puyu
