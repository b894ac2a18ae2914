// SentencePiece models: the protobuf reader.
#include "text/sentencepiece.h"

#include "base/error.h"
#include "fuzz.h"

using namespace puyu;

namespace {
std::string field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}
std::string varint(int number, int v) { return std::string(1, static_cast<char>(number << 3)) + static_cast<char>(v); }
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::string model;
  int kind = 2;
  for (const char* text : {"<unk>", "<s>", "</s>"}) {
    model += field(1, field(1, text) + std::string("\x15\0\0\0\0", 5) + varint(3, kind));
    kind = 3;
  }
  for (const char* text : {"a", "b", "ab", "\xE2\x96\x81", "书"})
    model += field(1, field(1, text) + std::string("\x15\0\0\x80\xBF", 5));
  model += field(2, varint(3, 2));                                        // trainer_spec: BPE
  model += field(3, field(1, "identity") + varint(3, 0) + varint(4, 0));  // normalizer_spec
  return {model, model.substr(0, 60)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    parse_sentencepiece(fuzz_bytes(data, size), "fuzz.model");
  } catch (const Error&) {}
  return 0;
}
