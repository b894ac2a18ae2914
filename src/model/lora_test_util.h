// For tests: writes a LoRA adapter folder of random numbers as PEFT would.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/config.h"
#include "tensor/safetensors.h"

namespace puyu {

struct AdapterFile {
  std::map<std::string, std::vector<float>> tensors;
};

// modules: name and shape [N, K] of each adapted matrix, in every layer.
inline AdapterFile write_adapter(const std::string& dir, const ModelConfig& c,
                                 const std::map<std::string, std::pair<int64_t, int64_t>>& modules, int64_t r,
                                 int64_t alpha, uint64_t seed, double size = 0.3) {
  AdapterFile out;
  std::vector<NamedTensor> list;
  Rng rng(seed);
  for (int64_t l = 0; l < c.num_layers; ++l)
    for (const auto& [module, shape] : modules)
      for (const bool is_a : {true, false}) {
        const std::string name =
            cat("base_model.model.model.layers.", l, ".", module, is_a ? ".lora_A" : ".lora_B", ".weight");
        std::vector<float>& x = out.tensors[name];
        x.resize(static_cast<size_t>(r * (is_a ? shape.second : shape.first)));
        for (float& v : x) v = static_cast<float>(rng.normal() * size);
        list.push_back({name, is_a ? make_view(x.data(), r, shape.second) : make_view(x.data(), shape.first, r)});
      }
  make_directories(dir);
  write_safetensors(dir + "/adapter_model.safetensors", list, {{"format", "pt"}});
  write_file(dir + "/adapter_config.json", cat("{\"peft_type\":\"LORA\",\"r\":", r, ",\"lora_alpha\":", alpha,
                                               ",\"bias\":\"none\",\"use_rslora\":false,\"modules_to_save\":null}"));
  return out;
}

}  // namespace puyu
