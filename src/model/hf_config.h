// Hugging Face's config.json of the families that share InternLM2's block: internlm2, internlm3, llama, mistral,
// qwen2. What would change the arithmetic and is not done here (other activations, ...) is an Error that names the key.
#pragma once
#include <string>

#include "base/json.h"
#include "model/quantized.h"
#include "model/tensors.h"

namespace puyu {

struct HfConfig {
  ModelConfig model;
  Head head = Head::kLanguage;
  std::string family;         // model_type
  int64_t reward_token = -1;  // of a reward model; -1: not named
  bool llama_names = false;   // tensors are called as LLaMA's, q, k and v apart
  QuantizationConfig quantization;
};
HfConfig parse_hf_config(const Json& j);             // messages without the path
HfConfig read_hf_config(const std::string& folder);  // messages with it
Json to_hf_config(const ModelConfig& c, Head head);  // of type internlm2

}  // namespace puyu
