#include "cli/model_files.h"

#include "base/file.h"
#include "engine/gguf_tokenizer.h"

namespace puyu {

void copy_tokenizer_files(const std::string& from, const std::string& to) {
  if (from.ends_with(".gguf")) return load_tokenizer(from).save(to + "/tokenizer.puyu");
  for (const char* name :
       {"tokenizer.puyu", "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "generation_config.json", "chat_template.jinja", "chat_template.json"})
    if (file_exists(from + "/" + name)) write_file(to + "/" + name, read_file(from + "/" + name));
}

}  // namespace puyu
