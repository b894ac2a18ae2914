// For tests of the writers: an exchange that keeps what it was told, and an answer with text and two calls.
#pragma once
#include "serve/answer.h"
#include "serve/request.h"

namespace puyu {

struct Sent {
  std::string name, data;
};
struct RecordingExchange : Exchange {
  void reply(HttpReply) override {}
  void event(std::string data, std::string name) override { sent.push_back({std::move(name), std::move(data)}); }
  void end() override { ended = true; }
  std::vector<Sent> sent;
  bool ended = false;
};

using Kind = AnswerEvent::Kind;
inline const std::vector<AnswerEvent> kTwoCalls = {{.text = "So: "},
                                                   {Kind::kCall, "", "7_0", "time"},
                                                   {Kind::kArguments, "{}"},
                                                   {Kind::kCallEnd},
                                                   {Kind::kCall, "", "7_1", "add"},
                                                   {Kind::kArguments, R"({"a": )"},
                                                   {Kind::kArguments, "1}"},
                                                   {Kind::kCallEnd}};

inline AnswerChoice answer_of(const std::vector<AnswerEvent>& events) {
  AnswerChoice c;
  c.prompt_tokens = 9, c.cached_tokens = 4, c.tokens = 6;
  for (const AnswerEvent& e : events) apply(e, c.parts);
  return c;
}

// The stream of one choice.
inline std::vector<Sent> streamed(const ApiRequest& r, const std::vector<AnswerEvent>& events, const AnswerChoice& c) {
  const auto x = std::make_shared<RecordingExchange>();
  const auto writer = make_writer(r, "1", 99, x);
  writer->begin({c});
  for (const AnswerEvent& e : events) writer->event(0, e, {});
  writer->last(0, c, {});
  writer->end({c});
  return x->ended ? x->sent : std::vector<Sent>();
}

}  // namespace puyu
