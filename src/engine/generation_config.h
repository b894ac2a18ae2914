// A folder's generation_config.json: how its authors sample from the model, and which ids end an answer.
#pragma once
#include "engine/generator.h"

namespace puyu {

struct GenerationConfig {
  SamplingOptions sampling;       // ours, with what the file says
  std::vector<int32_t> stop_ids;  // eos_token_id: of this file, or of config.json
  std::string said;               // "temperature 0.7, top_p 0.8"; empty: the file says nothing of sampling
};
// `folder` may hold neither file (ours do not), or be a .gguf.
GenerationConfig read_generation_config(const std::string& folder);

}  // namespace puyu
