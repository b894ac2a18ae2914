// GGUF: every tensor of a file that is accepted lies inside the file, and a model or tokenizer in it is read or
// refused.
#include "tensor/gguf.h"

#include "base/error.h"
#include "engine/gguf_tokenizer.h"
#include "fuzz.h"
#include "model/gguf_model.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  auto number = [](uint64_t v, size_t n) {
    std::string out;
    for (size_t i = 0; i < n; ++i) out += static_cast<char>(v >> (8 * i) & 255);
    return out;
  };
  auto text = [&](const std::string& s) { return number(s.size(), 8) + s; };
  const std::string head = "GGUF" + number(3, 4);
  const std::string tensor =
      text("token_embd.weight") + number(2, 4) + number(4, 8) + number(2, 8) + number(0, 4) + number(0, 8);
  std::string file = head + number(1, 8) + number(3, 8) + text("general.architecture") + number(8, 4) + text("llama") +
                     text("llama.block_count") + number(4, 4) + number(1, 4) + text("tokenizer.ggml.tokens") +
                     number(9, 4) + number(8, 4) + number(2, 8) + text("<unk>") + text("a") + tensor;
  file.resize((file.size() + 31) / 32 * 32, '\0');
  return {file + std::string(32, 'x'), head + number(0, 8) + number(0, 8)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemoryFile file(fuzz_bytes(data, size));
  try {
    const Gguf f(file.path());
    for (const auto& [name, t] : f.tensors()) {
      volatile char sum = 0;
      for (int64_t i = 0; i < t.bytes; ++i) sum = static_cast<char>(sum + t.data[i]);
    }
    try {
      read_gguf_tokenizer(f);
    } catch (const Error&) {}
    open_gguf_source(file.path());
  } catch (const Error&) {}
  return 0;
}
