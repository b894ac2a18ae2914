// Answers in no API's words. serve/choices.h turns the engine's tokens into events and collects them as parts; one
// writer an API says them in its own shape, as one body or as a stream. So what an answer holds, and in which order, is
// decided once.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "serve/fields.h"
#include "serve/http.h"

namespace puyu {

// A run of text, or a call of a tool.
struct AnswerPart {
  bool call = false;
  std::string text = {};           // the content, or the call's arguments: a JSON object, as the model wrote it
  std::string id = {}, name = {};  // of a call; the id without the API's prefix
  bool complete = true;            // false: the answer ended inside it
};

struct AnswerChoice {
  std::vector<AnswerPart> parts;
  FinishReason reason = FinishReason::kStop;
  std::string stop_text;  // which stop text ended it; empty for an end token
  int64_t prompt_tokens = 0, cached_tokens = 0, tokens = 0;
  bool full = false;         // kLength: the context was full, not max_tokens reached
  Json logprobs = Json();    // of the whole answer, in the shape of serve/logprobs.h; null where not asked for
  std::string echo = {};     // the prompt, where it stands before the answer
  std::string text() const;  // the content, joined
  bool called() const;       // it ended by itself, with whole calls
};

struct AnswerEvent {
  enum class Kind { kText, kCall, kArguments, kCallEnd };
  Kind kind = Kind::kText;
  std::string text = {};           // a piece of content or of arguments
  std::string id = {}, name = {};  // kCall
  bool complete = true;            // kCallEnd
};

// Adds what an event says.
void apply(const AnswerEvent& e, std::vector<AnswerPart>& to);

class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  virtual std::string whole(const std::vector<AnswerChoice>& choices) = 0;

  // A stream: begin(), then of each choice its events and last(), then end(). fail() ends it anywhere.
  virtual void begin(const std::vector<AnswerChoice>& choices) = 0;  // prompt_tokens are known
  // logprobs: of the tokens since the last piece; or null.
  virtual void event(size_t choice, const AnswerEvent& e, Json logprobs) = 0;
  virtual void last(size_t choice, const AnswerChoice& done, Json logprobs) = 0;
  virtual void end(const std::vector<AnswerChoice>& choices) = 0;
  virtual void fail(const ApiError& e) = 0;
};

struct ApiRequest;
// The writer of the request's API. `id`: of the answer, without the API's prefix; `created`: seconds since 1970.
std::unique_ptr<AnswerWriter> make_writer(const ApiRequest& r, const std::string& id, int64_t created,
                                          std::shared_ptr<Exchange> to);
std::unique_ptr<AnswerWriter> make_openai_writer(const ApiRequest& r, const std::string& id, int64_t created,
                                                 std::shared_ptr<Exchange> to);
std::unique_ptr<AnswerWriter> make_responses_writer(const ApiRequest& r, const std::string& id, int64_t created,
                                                    std::shared_ptr<Exchange> to);
std::unique_ptr<AnswerWriter> make_anthropic_writer(const ApiRequest& r, const std::string& id,
                                                    std::shared_ptr<Exchange> to);

}  // namespace puyu
