// Safetensors: every tensor of a file that is accepted lies inside the file.
#include "tensor/safetensors.h"

#include "base/error.h"
#include "fuzz.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  auto file = [](std::string header, size_t n) {
    std::string out(8, '\0');
    out[0] = static_cast<char>(header.size() & 255), out[1] = static_cast<char>(header.size() >> 8);
    return out + header + std::string(n, 'x');
  };
  return {
      file(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", 24),
      file(
          R"({"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[0],"data_offsets":[2,2]}})",
          2),
      file("{}", 0)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemoryFile file(fuzz_bytes(data, size));
  try {
    SafeTensors f(file.path());
    for (const auto& [name, t] : f.tensors()) {
      auto at = static_cast<const char*>(t.data) - f.data().data();
      expect(at >= 0 && static_cast<size_t>(at + t.nbytes()) <= f.data().size());
    }
  } catch (const Error&) {}
  return 0;
}
