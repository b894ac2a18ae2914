// The answers to one API request on their way out: text and log-probs from the engine become bodies or events of the
// exchange. Made and begun on any thread; after that all of it happens on the engine's.
#pragma once
#include <functional>
#include <memory>

#include "engine/local_generator.h"
#include "serve/http.h"
#include "serve/openai.h"

namespace puyu {

HttpReply error_reply(const ApiError& e);

class Choices {
 public:
  // on_end: once, when the last choice is done and nothing was refused.
  Choices(const ApiRequest& request, const LocalModel& model, std::shared_ptr<Exchange> exchange, const std::string& id,
          std::function<void()> on_end);
  // The request of choice `index`; its callbacks hold `all`.
  static Request request(const std::shared_ptr<Choices>& all, size_t index);
  void begin();   // all can run: a stream starts
  void refuse();  // they will not be put in work after all: none of them says anything

 private:
  struct Choice {
    Generation done;
    std::vector<int32_t> prompt;
    std::vector<Token> prompt_logps, fresh;  // with log-probs: of the prompt, and since the last event
    int64_t offset = 0;                      // code points before the next token (completions)
    bool echoed = false;
    bool in_call = false;     // after <|action_start|>
    std::string call;         // what was written since
    int64_t call_tokens = 0;  // also those that are no text
    Json tool_calls = Json();
  };
  bool piece(size_t index, const std::string& text);
  void echo(size_t index);
  static void add_calls(const std::shared_ptr<Choices>& all, size_t index, Request& q);
  void end_call(size_t index);
  void finish(size_t index, const Generation& g);
  Json logprobs(Choice& c, std::span<const Token> tokens) const;
  Json whole_logprobs(Choice& c) const;
  std::string prompt_text(size_t index) const;
  bool wants_logprobs() const { return request_.sampling.top_logprobs >= 0; }

  ApiRequest request_;
  const LocalModel& model_;
  std::shared_ptr<Exchange> exchange_;
  ApiAnswer answer_;
  std::string id_;
  std::function<void()> on_end_;
  std::vector<Choice> choices_;
  size_t left_;
  bool cut_ = false, refused_ = false;
};

}  // namespace puyu
