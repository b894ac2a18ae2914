// Held-out token shards as text, for perplexity of models that have no documents at hand.
#pragma once
#include <string>
#include <vector>

#include "eval/task.h"

namespace puyu {

// The documents of DIR/valid-LANGUAGE*.tok, decoded. Error when a shard is of another tokenizer.
std::vector<EvalText> texts_of_shards(const std::string& dir, const Tokenizer& tokenizer);

}  // namespace puyu
