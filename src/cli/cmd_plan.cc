// puyu plan: what serving, training and data take, before anything is loaded. Here serving; plan.h has the others.
#include <cstdio>

#include "cli/plan.h"
#include "cli/verbs.h"
#include "engine/local_generator.h"
#include "engine/pack_matrix.h"
#include "engine/serve_plan.h"

namespace puyu {
namespace {

struct Options {
  std::string dtype = "auto";
  bool json = false;
  EngineOptions engine;
  template <class F>
  void fields(F&& f) {
    f("dtype", dtype, "compute in f32 or bf16; auto = as the files");
    f("json", json, "print JSON");
    f("engine", engine, "batching and cache, as puyu serve takes them");
  }
};

constexpr const char* kHelp =
    "puyu plan train CONFIG.toml    memory, step time and best layout of a training run; see puyu plan train --help\n"
    "puyu plan data --bytes=100TB   time, memory and disk of cleaning a corpus; see puyu plan data --help\n"
    "puyu plan published            the planner against published measurements; see puyu plan published --help\n"
    "puyu plan serve MODEL          the rest of this page\n\n"
    "Says how much memory serving a model takes and how many tokens of context fit, without loading it. MODEL: a "
    "folder,\n"
    "a .gguf file, or a published size.\n\n"
    "  puyu plan serve internlm2-chat-7b --engine.context=200000 --engine.rope_factor=2 --engine.kv_bits=8\n"
    "  puyu plan serve 20b --engine.weights=w4a8\n";

int run(const std::vector<std::string>& argv) {
  const std::vector<std::string> rest(argv.begin() + (argv.empty() ? 0 : 1), argv.end());
  if (!argv.empty() && argv[0] == "train") return run_plan_train(rest);
  if (!argv.empty() && argv[0] == "data") return run_plan_data(rest);
  if (!argv.empty() && argv[0] == "published") return run_plan_published(rest);
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kPlanVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 2 || a.positional[0] != "serve")
    throw UsageError("expected train CONFIG, data, serve MODEL or published");
  const std::string& model = a.positional[1];
  ModelConfig c;
  DType compute = DType::kBF16;
  if (model == "1.8b" || model == "7b" || model == "20b") {
    c = published_config(model);
  } else {
    const auto source = open_model_source(model);
    c = source->config();
    o.engine.weights = serving_scheme(source->scheme(), o.engine.weights);
    if (source->dtype() == DType::kF32) compute = DType::kF32;
  }
  if (o.dtype != "auto" && o.dtype != "f32" && o.dtype != "bf16")
    throw UsageError("--dtype: expected auto, f32 or bf16");
  if (o.dtype != "auto") compute = o.dtype == "f32" ? DType::kF32 : DType::kBF16;
  const ServePlan p = plan_serving(c, compute, o.engine, available_memory());
  if (!o.json) {
    std::printf("%s", to_text(p).c_str());
    if (const std::string w = warning(p); !w.empty()) std::printf("%s\n", w.c_str());
    return 0;
  }
  Json j = Json::object();
  j["parameters"] = p.parameters, j["weight_bytes"] = p.weight_bytes, j["work_bytes"] = p.work_bytes;
  j["kv_bytes_per_token"] = p.kv_bytes_per_token, j["cache_tokens"] = p.cache_tokens, j["context"] = p.context;
  j["available_bytes"] = p.available_bytes, j["tokens_that_fit"] = p.tokens_that_fit;
  std::printf("%s\n", j.dump().c_str());
  return 0;
}

}  // namespace

const Verb kPlanVerb = {"plan", "puyu plan train CONFIG|data|serve MODEL|published [options]",
                        "memory and time before a run", run};

}  // namespace puyu
