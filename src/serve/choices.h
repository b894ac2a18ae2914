// The answers to one API request on their way out: tokens and log-probs from the engine become events and parts
// (serve/answer.h), which the request's writer says. All of it happens on the engine's thread.
#pragma once
#include <functional>
#include <memory>

#include "engine/local_generator.h"
#include "serve/answer_reader.h"
#include "serve/request.h"

namespace puyu {

HttpReply error_reply(const ApiError& e, Api api = Api::kOpenAi);

class Choices {
 public:
  // on_end: once, when the last choice is done and nothing was refused.
  Choices(const ApiRequest& request, const LocalModel& model, std::shared_ptr<Exchange> exchange, const std::string& id,
          std::function<void()> on_end);
  // The request of choice `index`; its callbacks hold `all`.
  static Request request(const std::shared_ptr<Choices>& all, size_t index);
  void begin();   // all are in work: a stream starts
  void refuse();  // one of them could not be: none of the others says anything

 private:
  struct Choice {
    AnswerReader reader;
    AnswerChoice answer = {};
    std::vector<int32_t> prompt = {};                  // with echo
    std::vector<Token> prompt_logps = {}, fresh = {};  // with log-probs: of the prompt, and since the last event
    int64_t offset = 0;                                // code points before the next token (completions)
    bool echoed = false;
  };
  bool token(size_t index, const Token& t);
  void say(size_t index, const std::vector<AnswerEvent>& events);
  void echo(size_t index);
  void finish(size_t index, FinishReason reason);
  void end();
  Json logprobs(Choice& c, std::span<const Token> tokens) const;
  Json whole_logprobs(Choice& c) const;
  std::string prompt_text(size_t index) const;
  bool wants_logprobs() const { return request_.sampling.top_logprobs >= 0; }
  bool ends(const Token& t) const { return model_.is_stop(t.id) && !request_.sampling.ignore_eos; }

  ApiRequest request_;
  const LocalModel& model_;
  std::shared_ptr<Exchange> exchange_;
  std::unique_ptr<AnswerWriter> writer_;
  std::function<void()> on_end_;
  std::vector<Choice> choices_;
  size_t left_;
  bool cut_ = false, refused_ = false;
};

}  // namespace puyu
