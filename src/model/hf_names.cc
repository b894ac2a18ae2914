#include "model/hf_names.h"

#include <map>

namespace puyu {

std::string llama_name(std::string name) {
  static const std::map<std::string, std::string> kWhole = {
      {"model.tok_embeddings.weight", "model.embed_tokens.weight"}, {"output.weight", "lm_head.weight"}};
  static const std::pair<const char*, const char*> kParts[] = {
      {"attention_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
      {"attention.wo", "self_attn.o_proj"},  {"feed_forward.w1", "mlp.gate_proj"},
      {"feed_forward.w3", "mlp.up_proj"},    {"feed_forward.w2", "mlp.down_proj"}};
  if (const auto it = kWhole.find(name); it != kWhole.end()) return it->second;
  for (auto [ours, theirs] : kParts)
    if (const size_t at = name.find(ours); at != std::string::npos)
      return name.replace(at, std::string(ours).size(), theirs);
  return name;
}

std::vector<std::string> file_names(const std::string& name, bool llama_names) {
  if (!llama_names) return {name};
  if (!is_wqkv(name)) return {llama_name(name)};
  const std::string at = name.substr(0, name.rfind("attention.wqkv")) + "self_attn.",
                    kind = name.substr(name.rfind('.'));
  return {at + "q_proj" + kind, at + "k_proj" + kind, at + "v_proj" + kind};
}

}  // namespace puyu
