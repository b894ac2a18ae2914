// What tensors are called in Hugging Face's files.
#pragma once
#include <string>
#include <vector>

namespace puyu {

// Our name (InternLM2's) in a file with LLaMA's names.
std::string llama_name(std::string name);
inline bool is_wqkv(const std::string& name) { return name.find(".attention.wqkv.") != name.npos; }  // or its bias
// One name, or those of q, k and v where a file with LLaMA's names holds wqkv in three.
std::vector<std::string> file_names(const std::string& name, bool llama_names);

}  // namespace puyu
