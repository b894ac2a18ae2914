// Holds an answer that may call tools to InternLM2's form of a call: after <|action_start|> comes <|plugin|>, a new
// line, a call within the tools' grammar and <|action_end|>; after that another call or the answer's end. Before the
// first call the text is free, or within a grammar of its own (then it is either that text or calls).
#pragma once
#include <memory>

#include "grammar/mask.h"
#include "serve/tools.h"

namespace puyu {

// calls: the grammar of one call. content: of the text, or null.
std::shared_ptr<TokenMask> call_mask(const Tokenizer& tokenizer, const std::vector<int32_t>& stop_ids,
                                     const Tools& tools, std::shared_ptr<grammar::Guide> calls,
                                     std::shared_ptr<TokenMask> content);

}  // namespace puyu
