// What stands in a model folder beside its tensors and config.json.
#pragma once
#include <string>

namespace puyu {

// Copies the tokenizer and what says how it is used from a folder or a .gguf file to a folder.
void copy_tokenizer_files(const std::string& from, const std::string& to);

}  // namespace puyu
