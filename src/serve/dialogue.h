// The turns of a dialogue as the APIs' bodies tell them, becoming InternLM2's (text/chat_template.h): calls stand in
// the assistant's turn, each result is an environment turn of its own. InternLM2's results carry no ids, so they are
// put in the order of their calls, whatever order the body has.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"

namespace puyu {

class Dialogue {
 public:
  void say(Message m);
  // A call by the assistant: in the turn it has just said, or in one of its own. arguments: a JSON object.
  void call(const std::string& id, const std::string& name, const Json& arguments, const std::string& field);
  // ApiError 400 with `field` when the assistant's last turn has no call of that id, or it has its result already.
  void result(const std::string& id, std::string content, const std::string& field);
  std::vector<Message> take() { return std::move(turns_); }

 private:
  std::vector<Message> turns_;
  std::vector<std::string> open_;  // ids of the calls in the assistant's last turn
  std::vector<size_t> answered_;   // of the results that end turns_: the number of their call
};

// "text", or [{"type": TYPE, "text": "text"}, ...] with one of the given types, joined. What clients send back
// of an answer's parts (annotations, logprobs, ...) and cache_control change nothing.
std::string text_content(const Json& v, const std::string& field, const std::vector<const char*>& types);
// {"a": 1} from a text; an empty text is an object without members.
Json parse_arguments(const std::string& text, const std::string& field);

}  // namespace puyu
