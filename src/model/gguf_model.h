// Models in GGUF, of llama.cpp's architectures `internlm2`, `llama` and `qwen2`: the same block, with q, k and v apart.
// In the first two the rows of q and k stand in the order that ggml's rotation of neighbours asks for
// (convert_hf_to_gguf.py, permute): row 2 i + j of a head there is row i + j HD / 2 here. qwen2 rotates halves, as we
// do.
#pragma once
#include <memory>
#include <string>

#include "model/source.h"
#include "tensor/gguf.h"

namespace puyu {

std::unique_ptr<ModelSource> open_gguf_source(const std::string& path);

// Writes the model with `metadata` (the tokenizer's) added to its own. type: of the matrices; vectors stay f32.
void export_gguf(Ctx& ctx, const ModelSource& source, GgufMetadata metadata, GgmlType type, const std::string& path,
                 const std::function<void(int64_t bytes)>& on_tensor = {});
int64_t gguf_bytes(const ModelConfig& c, Head head, GgmlType type);  // of its tensors

}  // namespace puyu
