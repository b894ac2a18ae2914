// puyu serve MODEL: the OpenAI API over a model folder.
#include <cstdio>
#include <filesystem>

#include "base/log.h"
#include "base/signal.h"
#include "cli/verbs.h"
#include "engine/pack_matrix.h"
#include "engine/serve_plan.h"
#include "serve/server.h"

namespace puyu {
namespace {

struct Options {
  ServeOptions serve;
  ModelOptions model;
  template <class F>
  void fields(F&& f) {
    serve.fields(f);
    model.fields(f);
  }
};

constexpr const char* kHelp =
    "Serves OpenAI's API (chat and text completions, responses, embeddings) and Anthropic's messages until Ctrl-C.\n\n"
    "  puyu serve runs/demo/model\n"
    "  curl http://127.0.0.1:23333/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    "    -d '{\"model\": \"model\", \"messages\": [{\"role\": \"user\", \"content\": \"你好\"}]}'\n";

int run(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kServeVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 1) throw UsageError("expected one MODEL: a folder or a .gguf file");
  const SamplingOptions usual = read_generation_config(a.positional[0]).sampling;
  o.serve.temperature = usual.temperature, o.serve.top_p = usual.top_p;
  parse_args(argv, f);  // again: what the command line says goes before the model's defaults
  if (o.serve.name.empty()) o.serve.name = std::filesystem::weakly_canonical(a.positional[0]).filename().string();
  {
    const auto source = open_model_source(a.positional[0]);
    const bool f32 = o.model.dtype == "f32" || (o.model.dtype == "auto" && source->dtype() == DType::kF32);
    EngineOptions engine = o.model.engine;
    engine.weights = serving_scheme(source->scheme(), engine.weights);
    const ServePlan plan = plan_serving(source->config(), f32 ? DType::kF32 : DType::kBF16, engine, available_memory());
    std::fprintf(stderr, "%s", to_text(plan).c_str());
    if (const std::string w = warning(plan); !w.empty()) log_warn(w);
  }
  LocalModel model(a.positional[0], o.model);
  Server server(model, o.serve);
  std::printf("serving '%s' on http://%s:%d/v1\n", o.serve.name.c_str(), o.serve.host.c_str(), server.port());
  std::fflush(stdout);
  server.run(interrupted);
  log_info("stopped");
  return 0;
}

}  // namespace

const Verb kServeVerb = {"serve", "puyu serve MODEL [--host 127.0.0.1] [--port 23333] [options]",
                         "serve a model over the OpenAI API", run};

}  // namespace puyu
