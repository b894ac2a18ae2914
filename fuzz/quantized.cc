// Quantised tensors of other programs: what is accepted holds numbers of 0 to 15, whatever the file says.
#include "model/quantized.h"

#include "base/error.h"
#include "fuzz.h"
#include "tensor/safetensors.h"

using namespace puyu;

std::vector<std::string> fuzz_seeds() {
  auto file = [](std::string header, size_t n) {
    std::string out(8, '\0');
    out[0] = static_cast<char>(header.size() & 255), out[1] = static_cast<char>(header.size() >> 8);
    return out + header + std::string(n, '\x37');
  };
  return {
      file(
          R"({"m.qweight":{"dtype":"I32","shape":[16,8],"data_offsets":[0,512]},"m.qzeros":{"dtype":"I32","shape":[1,1],)"
          R"("data_offsets":[512,516]},"m.scales":{"dtype":"F16","shape":[1,8],"data_offsets":[516,532]}})",
          532),
      file(
          R"({"m.qweight":{"dtype":"I32","shape":[128,1],"data_offsets":[0,512]},"m.qzeros":{"dtype":"I32","shape":[1,1],)"
          R"("data_offsets":[512,516]},"m.scales":{"dtype":"F16","shape":[1,8],"data_offsets":[516,532]}})",
          532),
      file(
          R"({"m.qweight":{"dtype":"U8","shape":[8,64],"data_offsets":[0,512]},"m.scales":{"dtype":"F32","shape":[8,1],)"
          R"("data_offsets":[512,544]},"m.zeros":{"dtype":"U8","shape":[8,1],"data_offsets":[544,552]}})",
          552)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemoryFile file(fuzz_bytes(data, size));
  static Arena scratch("scratch", 1 << 24);
  Ctx ctx{Device::kCpu, &scratch};
  try {
    const SafeTensors f(file.path());
    for (
        const char* text :
        {R"({"quantization_config":{"quant_method":"gptq","bits":4,"group_size":128}})",
         R"({"quantization_config":{"quant_method":"awq","bits":4,"group_size":128}})",
         R"({"quantization_config":{"quant_method":"puyu","version":1,"scheme":"w4a16","bits":4,"group_size":128,"xxh3":""}})"})
      try {
        ScratchScope scope(scratch);
        const QuantizedWeight w = read_quantized(
            ctx, parse_quantization(Json::parse(text)), [&](const std::string& name) { return f.find(name); }, "m", 8,
            128);
        for (int64_t i = 0; i < w.q.numel(); ++i) expect(static_cast<const uint8_t*>(w.q.data)[i] < 16);
        for (int64_t i = 0; i < w.zero.numel(); ++i) expect(w.zero.as<float>()[i] >= 0 && w.zero.as<float>()[i] < 16);
      } catch (const Error&) {}
  } catch (const Error&) {}
  return 0;
}
