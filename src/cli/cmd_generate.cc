// puyu generate MODEL -p TEXT: one answer.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "cli/verbs.h"
#include "engine/local_generator.h"

namespace puyu {
namespace {

struct Options {
  std::string prompt;
  bool chat = false, greedy = false, json = false;
  SamplingOptions sampling;
  ModelOptions model;
  template <class F>
  void fields(F&& f) {
    f("prompt", prompt, "the text (also -p); without it, standard input");
    f("chat", chat, "the text is a user's message, not the beginning of a text");
    f("greedy", greedy, "always the most likely token; same as --temperature 0");
    f("json", json, "print JSON with counts and speed");
    sampling.fields(f);
    model.fields(f);
  }
};

constexpr const char* kHelp =
    "Continues a text, or with --chat answers a message. The answer streams to stdout.\n\n"
    "  puyu generate runs/demo/model -p '从前有' --max-tokens 100\n"
    "  echo 'What is a tokenizer?' | puyu generate runs/demo/model --chat --greedy --json\n";

int run(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kGenerateVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"p", "prompt"}});
  if (a.positional.size() != 1) throw UsageError("expected one MODEL folder");
  o.sampling = read_generation_config(a.positional[0]).sampling;
  parse_args(argv, f, {{"p", "prompt"}});  // again: what the command line says goes before the model's defaults
  if (o.greedy) o.sampling.temperature = 0;
  if (o.prompt.empty()) o.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  LocalModel model(a.positional[0], o.model);
  Prompt prompt;
  if (o.chat)
    prompt.messages = {{"user", o.prompt, ""}};
  else
    prompt.text = o.prompt;
  Generation g;
  auto print = [&](const std::string& text) {
    if (!o.json) std::fwrite(text.data(), 1, text.size(), stdout), std::fflush(stdout);
    return true;
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<Request> requests;
  requests.push_back(model.request(prompt, o.sampling, print, [&](const Generation& all) { g = all; }));
  model.engine.run(std::move(requests));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (o.json) {
    Json j = Json::object();
    j["text"] = g.text;
    j["prompt_tokens"] = g.prompt_tokens;
    j["tokens"] = g.tokens;
    j["finish_reason"] = finish_reason_name(g.reason);
    j["tokens_per_second"] = static_cast<double>(g.tokens) / seconds;
    std::printf("%s", j.dump().c_str());
  }
  std::printf("\n");
  return g.reason == FinishReason::kAborted ? 1 : 0;
}

}  // namespace

const Verb kGenerateVerb = {"generate", "puyu generate MODEL -p TEXT [--max-tokens N] [--greedy] [--chat] [--json]",
                            "continue a text or answer a message", run};

}  // namespace puyu
