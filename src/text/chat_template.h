// InternLM2's ChatML: <s><|im_start|>role\ncontent<|im_end|>\n ... <|im_start|>assistant\n . Roles and contents are
// encoded as ordinary text, so a user cannot forge a special token. Source: chat_format.md of InternLM2.
#pragma once
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace puyu {

struct Message {
  std::string role;  // system, user, assistant, environment
  std::string content;
  std::string name;                     // "<|plugin|>", "<|interpreter|>" or empty
  std::vector<std::string> calls = {};  // of plugins, after the assistant's content: JSON with name and parameters
};

// Ids of a dialogue; with add_generation_prompt it ends in "<|im_start|>assistant\n".
std::vector<int32_t> encode_chat(const Tokenizer& t, const std::vector<Message>& messages, bool add_generation_prompt);

// For SFT: ids, and for each id whether it carries loss: the assistant's content and its <|im_end|> and newline.
struct ChatExample {
  std::vector<int32_t> ids;
  std::vector<uint8_t> loss;  // loss[i]: predicting ids[i] counts
};
ChatExample encode_chat_example(const Tokenizer& t, const std::vector<Message>& messages);

}  // namespace puyu
