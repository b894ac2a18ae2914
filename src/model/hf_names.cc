#include "model/hf_names.h"

#include <map>
#include <string_view>

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
  constexpr std::string_view kJoined = "attention.wqkv.";
  const size_t at = name.find(kJoined);
  if (at == std::string::npos) return {llama_name(name)};
  std::vector<std::string> out;
  for (const char* part : {"q_proj.", "k_proj.", "v_proj."})
    out.push_back(name.substr(0, at) + "self_attn." + part + name.substr(at + kJoined.size()));
  return out;
}

}  // namespace puyu
