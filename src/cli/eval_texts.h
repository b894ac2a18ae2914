// The tasks that `puyu eval` and `puyu train` ask, and held-out token shards as text, for perplexity of models that
// have no documents at hand.
#pragma once
#include <string>
#include <vector>

#include "eval/task.h"

namespace puyu {

// The documents of DIR/valid-LANGUAGE*.tok, decoded. Error when a shard is of another tokenizer.
std::vector<EvalText> texts_of_shards(const std::string& dir, const Tokenizer& tokenizer);

// tokenizer: the model's, or null where the model is elsewhere. Error when a task is unknown or its data are missing.
std::vector<EvalTask> load_tasks(const std::vector<std::string>& names, const TaskOptions& options,
                                 const Tokenizer* tokenizer);

}  // namespace puyu
