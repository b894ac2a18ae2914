// What a guided answer may say next: a grammar, a JSON schema, a regular expression. The engine asks before it samples
// and tells what it chose; one object serves one answer, one call at a time, on the engine's thread or its workers.
//
// allow() sets the logits of tokens that must not come to -infinity and leaves the others alone. An end id (</s>,
// <|im_end|>) is a token like any other: the mask forbids it until the answer may end. When it forbids every token the
// answer ends there. Log-probs are those of the untouched logits.
#pragma once
#include <cstdint>
#include <span>

namespace puyu {

class TokenMask {
 public:
  virtual ~TokenMask() = default;
  virtual void allow(std::span<float> logits) = 0;  // [V], the model's vocabulary (may be larger than the tokenizer's)
  virtual void accept(int32_t id) = 0;              // the token that was chosen; never an end id
  virtual bool finished() const = 0;                // nothing may follow: the answer ends with the token just accepted
};

}  // namespace puyu
