// How much memory serving a model takes, known before anything is loaded.
#pragma once
#include <string>

#include "engine/engine.h"

namespace puyu {

struct ServePlan {
  int64_t parameters = 0;
  int64_t weight_bytes = 0;  // packed, or quantised; embeddings and norms as stored
  int64_t work_bytes = 0;    // activations and logits of the largest step, about
  int64_t kv_bytes_per_token = 0;
  int64_t cache_tokens = 0;     // that the cache may hold; its memory becomes real as it fills
  int64_t context = 0;          // longest prompt and answer
  int64_t available_bytes = 0;  // memory that is free now, within the control group's limit
  int64_t tokens_that_fit = 0;  // of the cache, in what the rest leaves
};
ServePlan plan_serving(const ModelConfig& c, DType compute, const EngineOptions& o, int64_t available_bytes);
int64_t available_memory();  // MemAvailable of /proc/meminfo, or less where a control group allows less

std::string to_text(const ServePlan& p);
// One line for the log; empty when everything fits.
std::string warning(const ServePlan& p);

}  // namespace puyu
