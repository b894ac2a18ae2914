// How a family of models writes a dialogue: ChatML (InternLM, Qwen), LLaMA 2's and Mistral's [INST], LLaMA 3's headers.
// The family is recognised by the chat template (Jinja, tokenizer_config.json) or by its special tokens, and so are the
// details that differ within one: a default system message, spaces, <s>. Templates are recognised, not run.
// Messages are encoded as ordinary text: a user cannot forge a special token.
#pragma once
#include <string>
#include <vector>

#include "text/chat_template.h"

namespace puyu {

struct ChatStyle {
  enum class Family { kUnknown, kChatMl, kLlama2, kLlama3, kMistral } family = Family::kUnknown;
  std::string default_system = {};  // for dialogues without one
  bool bos = true;                  // begins with <s>, where the tokenizer has one
  bool dated = false;               // LLaMA 3.1 and later: the system turn begins with two dates
  // Mistral: what stands around a message, and before an answer.
  std::string open = "[INST] ", close = " [/INST]", answer = {};
  enum class System { kRefused, kFirst, kLast } system = System::kFirst;  // Mistral: with which user message
};

ChatStyle find_chat_style(const Tokenizer& t);
// chatml, llama2, llama3 or mistral; Error otherwise, or when the tokenizer lacks what the family needs.
ChatStyle named_chat_style(const std::string& name, const Tokenizer& t);
const char* chat_style_name(const ChatStyle& s);

// Ids of a dialogue up to where the assistant's answer begins. Error: an unknown style, or turns that it cannot hold.
std::vector<int32_t> encode_dialogue(const Tokenizer& t, const ChatStyle& s, const std::vector<Message>& messages);

}  // namespace puyu
