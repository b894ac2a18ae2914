// A model of floats into a folder of quantised matrices (docs/formats.d/quantized.md), block by block: what calibration
// sees of a block, its scales (model/awq.h), its numbers, the file. One block is in memory at a time, beside the
// calibration tokens' hidden states.
#pragma once
#include <functional>

#include "model/awq.h"

namespace puyu {

struct QuantizeOptions {
  std::string scheme = "w4a16";
  bool search = true;
  double alpha = 0.5;
  bool clip = false;
  int64_t search_tokens = 512;
  template <class F>
  void fields(F&& f) {
    f("scheme", scheme, "w4a16 = weights of the blocks in 4 bits, w4a8 = the same with activations in int8, w8a8");
    f("search", search, "try 20 values of alpha for every module; false = alpha for all");
    f("alpha", alpha, "without search: 0 = scales by the weights alone, 1 = by the activations alone");
    f("clip", clip, "4 bits: narrow the range of a group of weights where that lessens the output's error");
    f("search_tokens", search_tokens, "tokens of the calibration text that candidates are judged by");
  }
};
void validate(const QuantizeOptions& o);

struct QuantizeProgress {
  std::function<void(int64_t weights)> done;                                 // so many more are written
  std::function<void(int64_t layer, const BlockScales& scales)> block = {};  // after the search
};

// `w`: of load_for_inference, not quantised. sequences: calibration tokens; none = numbers as engine.weights makes them
// at load, without scales. Writes model.safetensors and config.json to the folder.
void quantize_model(Ctx& ctx, Weights& w, const std::vector<std::vector<int32_t>>& sequences, const QuantizeOptions& o,
                    const std::string& folder, const QuantizeProgress& progress = {});

// Bytes of the tensors as they are (dtype) and quantised.
int64_t model_bytes(const ModelConfig& c, Head head, DType dtype, const std::string& scheme);

}  // namespace puyu
