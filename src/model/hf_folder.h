// A model folder as Hugging Face's programs wrote it, kept so that it can be written again byte for byte: its small
// files, its shards with their headers. `puyu convert` takes such a folder apart into one file with our names and puts
// it together again. Tensors are streamed, never all in memory.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/source.h"

namespace puyu {

struct HfLayout {
  struct File {
    std::string name, bytes;
  };
  std::vector<File> files;   // all but the shards: config.json, the index, the tokenizer, code, …
  std::vector<File> shards;  // bytes: the header's JSON as it stands in the file
};
// Of a folder as it is, or of what save_origin() put into it. Error when that is damaged.
HfLayout read_layout(const std::string& folder);

using OnTensor = std::function<void(int64_t bytes)>;
// A folder with our names, one model.safetensors and, in origin/, what it takes to go back. dtype: of all floats; none:
// each as it is.
void write_ours(const std::string& in, const std::string& out, std::optional<DType> dtype, const OnTensor& on_tensor);
// A folder of the layout that `in` has or came from. With another dtype headers, index and config.json say so and are
// otherwise the same.
void write_hf(const std::string& in, const std::string& out, std::optional<DType> dtype, const OnTensor& on_tensor);
// Any source, quantised or GGUF too: our names, one file, config.json of type internlm2.
void write_folder(Ctx& ctx, const ModelSource& source, const std::string& out, DType dtype, const OnTensor& on_tensor);

}  // namespace puyu
