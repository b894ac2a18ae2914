#include "engine/local_generator.h"
#include "serve/answer.h"
#include "serve/request.h"

namespace puyu {
namespace {

Json text_part(const std::string& text) {
  Json j = Json::object();
  j["type"] = "output_text";
  j["text"] = text;
  j["annotations"] = Json::array();
  j["logprobs"] = Json::array();
  return j;
}

// An answer's items: a message for each run of text, a function_call for each call. A stream of events:
// response.created and .in_progress; of each item .added, its pieces, .done; then response.completed or .incomplete.
class ResponsesWriter : public AnswerWriter {
 public:
  ResponsesWriter(const ApiRequest& r, const std::string& id, int64_t created, std::shared_ptr<Exchange> to)
      : repeated_(r.repeated), id_(id), created_(created), to_(std::move(to)) {}

  std::string whole(const std::vector<AnswerChoice>& choices) override { return response(choices[0]).dump(); }

  void begin(const std::vector<AnswerChoice>&) override {
    for (const char* type : {"response.created", "response.in_progress"}) {
      Json j = Json::object();
      j["response"] = frame("in_progress");
      j["response"]["output"] = Json::array();
      j["response"]["usage"] = Json();
      send(type, j);
    }
  }

  void event(size_t, const AnswerEvent& e, Json) override {
    const bool text = e.kind == AnswerEvent::Kind::kText;
    if (!parts_.empty() && !parts_.back().call && !text) end_message("completed");
    const size_t before = parts_.size();
    apply(e, parts_);
    const AnswerPart& part = parts_.back();
    if (parts_.size() > before) begin_item();
    if (text || e.kind == AnswerEvent::Kind::kArguments) {
      Json j = place(text);
      j["delta"] = e.text;
      if (text) j["logprobs"] = Json::array();
      send(text ? "response.output_text.delta" : "response.function_call_arguments.delta", j);
    } else if (e.kind == AnswerEvent::Kind::kCallEnd) {
      Json j = place(false);
      j["arguments"] = part.text;
      j["name"] = part.name;
      send("response.function_call_arguments.done", j);
      send_item("response.output_item.done", item(parts_.size() - 1, part, part.complete ? "completed" : "incomplete"));
    }
  }

  void last(size_t, const AnswerChoice& done, Json) override {
    if (!parts_.empty() && !parts_.back().call)
      end_message(done.reason == FinishReason::kStop ? "completed" : "incomplete");
  }

  void end(const std::vector<AnswerChoice>& choices) override {
    Json j = Json::object();
    j["response"] = response(choices[0]);
    send(choices[0].reason == FinishReason::kStop ? "response.completed" : "response.incomplete", j);
    to_->end();
  }

  void fail(const ApiError& e) override {
    Json j = Json::object();
    Json& r = j["response"] = frame("failed");
    r["error"] = Json::object();
    r["error"]["code"] = "server_error";
    r["error"]["message"] = e.what();
    r["output"] = Json::array();
    r["usage"] = Json();
    send("response.failed", j);
    to_->end();
  }

 private:
  Json frame(const char* status) const {
    Json j = Json::object();
    j["id"] = "resp_" + id_;
    j["object"] = "response";
    j["created_at"] = created_;
    j["status"] = status;
    j["background"] = false;
    j["error"] = Json();
    j["incomplete_details"] = Json();
    for (const auto& [key, value] : repeated_.as_object()) j[key] = value;
    return j;
  }

  std::string item_id(size_t index, bool call) const { return cat(call ? "fc_" : "msg_", id_, "_", index); }

  // An output item of this part. A message that begins has no content yet.
  Json item(size_t index, const AnswerPart& p, const char* status, bool begins = false) const {
    Json j = Json::object();
    j["id"] = item_id(index, p.call);
    j["type"] = p.call ? "function_call" : "message";
    j["status"] = status;
    if (p.call) {
      j["call_id"] = "call_" + p.id;
      j["name"] = p.name;
      j["arguments"] = p.text;
    } else {
      j["role"] = "assistant";
      j["content"] = begins ? Json::array() : Json(Json::Array{text_part(p.text)});
    }
    return j;
  }

  Json response(const AnswerChoice& c) const {
    const bool ended = c.reason == FinishReason::kStop;
    Json j = frame(ended ? "completed" : "incomplete");
    if (!ended) {
      j["incomplete_details"] = Json::object();
      j["incomplete_details"]["reason"] =
          c.reason == FinishReason::kLength ? "max_output_tokens" : finish_reason_name(c.reason);
    }
    j["output"] = Json::array();
    for (size_t i = 0; i < c.parts.size(); ++i) {
      const bool whole = c.parts[i].call ? c.parts[i].complete : ended || i + 1 < c.parts.size();
      j["output"].push(item(i, c.parts[i], whole ? "completed" : "incomplete"));
    }
    Json& u = j["usage"] = Json::object();
    u["input_tokens"] = c.prompt_tokens;
    u["input_tokens_details"]["cached_tokens"] = c.cached_tokens;
    u["output_tokens"] = c.tokens;
    u["output_tokens_details"]["reasoning_tokens"] = 0;
    u["total_tokens"] = c.prompt_tokens + c.tokens;
    return j;
  }

  void send(const char* type, const Json& body) {
    Json j = Json::object();
    j["type"] = type;
    j["sequence_number"] = sequence_++;
    for (const auto& [key, value] : body.as_object()) j[key] = value;
    to_->event(j.dump(), type);
  }
  void send_item(const char* type, Json item) {
    Json j = Json::object();
    j["output_index"] = parts_.size() - 1;
    j["item"] = std::move(item);
    send(type, j);
  }
  // Where an event of the last part belongs.
  Json place(bool text) const {
    Json j = Json::object();
    j["item_id"] = item_id(parts_.size() - 1, parts_.back().call);
    j["output_index"] = parts_.size() - 1;
    if (text) j["content_index"] = 0;
    return j;
  }

  void begin_item() {
    AnswerPart empty = parts_.back();
    empty.text.clear();
    send_item("response.output_item.added", item(parts_.size() - 1, empty, "in_progress", true));
    if (empty.call) return;
    Json j = place(true);
    j["part"] = text_part("");
    send("response.content_part.added", j);
  }
  void end_message(const char* status) {
    const AnswerPart& part = parts_.back();
    Json j = place(true), k = place(true);
    j["text"] = part.text;
    j["logprobs"] = Json::array();
    send("response.output_text.done", j);
    k["part"] = text_part(part.text);
    send("response.content_part.done", k);
    send_item("response.output_item.done", item(parts_.size() - 1, part, status));
  }

  Json repeated_;
  std::string id_;
  int64_t created_, sequence_ = 0;
  std::shared_ptr<Exchange> to_;
  std::vector<AnswerPart> parts_;  // of the stream, so far
};

}  // namespace

std::unique_ptr<AnswerWriter> make_responses_writer(const ApiRequest& r, const std::string& id, int64_t created,
                                                    std::shared_ptr<Exchange> to) {
  return std::make_unique<ResponsesWriter>(r, id, created, std::move(to));
}

}  // namespace puyu
