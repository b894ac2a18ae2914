#include "serve/answer_reader.h"

#include "base/json.h"

namespace puyu {
namespace {

struct Cursor {
  std::string_view text;
  size_t at = 0;

  void space() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) ++at;
  }
  bool take(char c) {
    space();
    if (at >= text.size() || text[at] != c) return false;
    ++at;
    return true;
  }
  std::optional<std::string> string() {
    if (!take('"')) return std::nullopt;
    const size_t begin = at - 1;
    for (; at < text.size(); ++at) {
      if (text[at] == '\\') {
        ++at;
      } else if (text[at] == '"') {
        ++at;
        try {
          return Json::parse(text.substr(begin, at - begin), "call").as_string();
        } catch (const Error&) { return std::nullopt; }  // no JSON, so no call; the caller shows what was written
      }
    }
    return std::nullopt;
  }
};

}  // namespace

std::optional<CallHead> read_call_head(std::string_view text) {
  Cursor c{text};
  if (!c.take('{') || c.string() != "name" || !c.take(':')) return std::nullopt;
  std::optional<std::string> name = c.string();
  if (!name || !c.take(',')) return std::nullopt;
  const std::optional<std::string> key = c.string();
  if ((key != "parameters" && key != "arguments") || !c.take(':') || !c.take('{')) return std::nullopt;
  return CallHead{*std::move(name), c.at - 1};
}

AnswerReader::AnswerReader(const Tokenizer& tokenizer, const std::vector<std::string>& stops,
                           std::set<std::string> tools, std::string id)
    : tokenizer_(tokenizer),
      content_(tokenizer, stops),
      tools_(std::move(tools)),
      id_(std::move(id)),
      decoder_(tokenizer) {
  if (tools_.empty()) return;
  start_ = tokenizer.special("<|action_start|>");
  end_ = tokenizer.special("<|action_end|>");
}

std::vector<AnswerEvent> AnswerReader::push(int32_t id, bool may_stop) {
  std::vector<AnswerEvent> out;
  if (id >= tokenizer_.vocab_size()) return out;  // a model's vocabulary may be padded: such an id has no text
  if (in_call_) {
    push_call(id, out);
    return out;
  }
  if (after_call_ && tokenizer_.piece_bytes(id) == "\n") return out;  // some models end a call's line
  after_call_ = false;
  if (id != start_) {
    if (std::string text = content_.push(id, may_stop); !text.empty()) out.push_back({.text = std::move(text)});
    return out;
  }
  // What might have become a stop text did not, and it stands before the call.
  if (std::string text = content_.finish(); !text.empty()) out.push_back({.text = std::move(text)});
  in_call_ = true, begun_ = whole_ = in_string_ = escaped_ = false, depth_ = 0;
  decoder_ = StreamDecoder(tokenizer_);
  written_ = "<|action_start|>", head_.clear();
  return out;
}

void AnswerReader::push_call(int32_t id, std::vector<AnswerEvent>& out) {
  if (tokenizer_.is_special(id)) {
    written_ += tokenizer_.decode({&id, 1}, true);
    if (id == end_) end_call(out);
    return;
  }
  read_call(decoder_.push(id), out);
}

void AnswerReader::read_call(const std::string& text, std::vector<AnswerEvent>& out) {
  written_ += text;
  if (begun_) return read_arguments(text, out);
  head_ += text;
  const std::optional<CallHead> head = read_call_head(head_);
  if (!head || !tools_.contains(head->name)) return;
  begun_ = true;
  out.push_back({AnswerEvent::Kind::kCall, "", cat(id_, "_", calls_++), head->name});
  read_arguments(std::string_view(head_).substr(head->arguments), out);
}

// Up to the brace that closes them; what follows is the call's own.
void AnswerReader::read_arguments(std::string_view text, std::vector<AnswerEvent>& out) {
  size_t n = 0;
  for (; n < text.size() && !whole_; ++n) {
    const char c = text[n];
    if (in_string_) {
      if (!escaped_ && c == '"') in_string_ = false;
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      whole_ = --depth_ == 0;
    }
  }
  if (n > 0) out.push_back({AnswerEvent::Kind::kArguments, std::string(text.substr(0, n)), "", ""});
}

void AnswerReader::end_call(std::vector<AnswerEvent>& out) {
  in_call_ = false, after_call_ = true;
  if (begun_)
    out.push_back({AnswerEvent::Kind::kCallEnd, "", "", "", whole_});
  else
    out.push_back({.text = written_});
}

std::vector<AnswerEvent> AnswerReader::finish() {
  std::vector<AnswerEvent> out;
  if (in_call_) {
    if (const std::string rest = decoder_.finish(); !rest.empty()) read_call(rest, out);
    end_call(out);
  } else if (std::string rest = content_.finish(); !rest.empty()) {
    out.push_back({.text = std::move(rest)});
  }
  return out;
}

}  // namespace puyu
