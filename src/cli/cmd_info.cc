// puyu info PATH: what a file or folder of ours is.
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "cli/run_curve.h"
#include "cli/verbs.h"
#include "data/shard.h"
#include "model/hf_config.h"
#include "model/weights.h"
#include "tensor/gguf.h"

namespace puyu {
namespace {

struct InfoOptions {
  bool json = false;
  std::string svg;
  template <class F>
  void fields(F&& f) {
    f("json", json, "print JSON");
    f("svg", svg, "of a training run: draw its curve to this file");
  }
};

Json describe(const std::string& path) {
  Json j = Json::object();
  j["path"] = path;
  if (is_run(path)) {
    const Json run = describe_run(path);
    for (const auto& [key, value] : run.as_object()) j[key] = value;
  } else if (is_directory(path)) {
    const HfConfig hf = read_hf_config(path);
    ModelConfig c = hf.model;
    const bool reward = hf.head == Head::kValue;
    j["kind"] = reward ? "reward model" : hf.quantization.scheme.empty() ? "model" : "quantised model";
    j["family"] = hf.family;
    if (!hf.quantization.scheme.empty()) j["scheme"] = hf.quantization.scheme;
    j["head"] = reward ? "one value a token; the score of a dialogue is that at the reward token after it" : "language";
    if (hf.reward_token >= 0) j["reward_token_id"] = hf.reward_token;
    j["parameters"] = c.num_params();
    j["config"] = to_json(list_fields(c));
  } else if (path.ends_with(".gguf")) {
    Gguf f(path);
    j["kind"] = "gguf", j["version"] = static_cast<int64_t>(f.version());
    for (const auto& [k, v] : f.metadata())
      j["metadata"][k] = v.type == GgufType::kArray ? Json(cat("[", v.value.size(), " values]")) : v.value;
    for (const auto& [name, t] : f.tensors()) {
      std::string shape;
      for (int64_t d : t.shape) shape += cat(shape.empty() ? "[" : ", ", d);
      j["tensors"][name] = cat(ggml_format(t.type)->name, " ", shape, "]");
    }
  } else if (path.ends_with(".safetensors")) {
    SafeTensors f(path);
    j["kind"] = "safetensors";
    for (const auto& [k, v] : f.metadata()) j["metadata"][k] = v;
    for (const auto& [name, t] : f.tensors()) j["tensors"][name] = shape_string(t);
  } else {
    ShardReader s(path);
    j["kind"] = "token shard";
    j["tokens"] = s.tokens();
    j["documents"] = s.documents();
    j["token_bytes"] = s.token_bytes();
  }
  return j;
}

int run(const std::vector<std::string>& argv) {
  InfoOptions o;
  Fields f = list_fields(o);
  if (wants_help(argv, kInfoVerb, "PATH is a model folder, a training run, a .safetensors file or a token shard.\n", f))
    return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 1) throw UsageError("expected one PATH");
  if (!o.svg.empty()) {
    if (!is_run(a.positional[0]))
      throw UsageError("--svg draws the curve of a training run; " + a.positional[0] + " has no metrics.jsonl");
    write_file(o.svg, run_curve_svg(a.positional[0], std::filesystem::path(a.positional[0]).filename().string()));
  }
  std::printf("%s\n", describe(a.positional[0]).dump(o.json ? 0 : 2).c_str());
  return 0;
}

}  // namespace

const Verb kInfoVerb = {"info", "puyu info PATH [--json] [--svg FILE]", "say what a file or folder of ours is", run};

}  // namespace puyu
