// From tokens to the events of an answer: content goes through the stop texts, what stands between <|action_start|> and
// <|action_end|> is read as a call of InternLM2's, `{"name": NAME, "parameters": {…}}`. A call begins when its name and
// the brace of its arguments are there; from then on its arguments go out as they come, whole characters at a time.
// What turns out to be no call of an offered tool is content, as it was written: nothing of an answer is lost.
#pragma once
#include <optional>
#include <set>

#include "engine/text_stream.h"
#include "serve/answer.h"

namespace puyu {

// The part of a call before its arguments: where they begin, and the tool's name. Nothing while more is to come, or
// when it is no call.
struct CallHead {
  std::string name;
  size_t arguments;  // offset of their brace
};
std::optional<CallHead> read_call_head(std::string_view text);

class AnswerReader {
 public:
  // tools: names of those that may be called; empty: the tokens of calls are tokens like any others. id: calls are
  // ID_0, ID_1, ...
  AnswerReader(const Tokenizer& tokenizer, const std::vector<std::string>& stops, std::set<std::string> tools,
               std::string id);
  std::vector<AnswerEvent> push(int32_t id, bool may_stop = true);
  std::vector<AnswerEvent> finish();  // what was held back; a call that has not ended is cut off here
  bool in_call() const { return in_call_; }
  bool stopped() const { return content_.stopped(); }
  const std::string& stop_text() const { return content_.stop_text(); }

 private:
  void push_call(int32_t id, std::vector<AnswerEvent>& out);
  void read_call(const std::string& text, std::vector<AnswerEvent>& out);
  void read_arguments(std::string_view text, std::vector<AnswerEvent>& out);
  void end_call(std::vector<AnswerEvent>& out);

  Tokenizer tokenizer_;
  TextStream content_;
  std::set<std::string> tools_;
  std::string id_;
  int32_t start_ = -1, end_ = -1;  // ids around a call
  int64_t calls_ = 0;

  // Of the call in work:
  bool in_call_ = false, begun_ = false, after_call_ = false;
  StreamDecoder decoder_;
  std::string written_;  // with the texts of its special tokens
  std::string head_;     // its text so far, until it has begun
  // Of its arguments: open braces and brackets, and where in a string we are.
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false, whole_ = false;
};

}  // namespace puyu
