// puyu finetune CONFIG.toml --out runs/NAME: fine-tune a model on dialogues.
#include <cstdio>

#include "align/stages.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/verbs.h"

namespace puyu {
namespace {

struct FinetuneCli {
  std::string out;
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder of the run");
  }
};

constexpr const char* kText =
    "Fine-tunes a model folder on dialogues: arithmetic, manual pages and who-are-you made by program, and your own\n"
    "JSONL. Loss stands on the assistant's words only. The run's folder gets instructions.jsonl, eval/ (held-out\n"
    "questions for `puyu eval --data`), metrics.jsonl and model/.\n\n"
    "example: puyu finetune runs/demo/finetune/manifest.toml --out runs/sft\n"
    "         repeats the demo's run; a manifest.toml is a config with every option in it\n"
    "\noptions of CONFIG.toml:\n";

int run(const std::vector<std::string>& argv) {
  FinetuneCli cli;
  FinetuneOptions o;
  Fields f = list_fields(cli);
  if (wants_help(argv, kFinetuneVerb, kText + fields_help(list_fields(o)), f)) return 0;
  const Args a = parse_args(argv, f, {}, true);
  if (a.positional.size() != 1) throw UsageError("expected one CONFIG.toml");
  if (cli.out.empty()) throw UsageError("expected --out, the folder of the run");
  load_config(o, read_file(a.positional[0]), a.positional[0], a.overrides);
  const SftReport r = finetune(o, cli.out);
  std::printf("%lld steps, %lld tokens in %s, loss %.4f%s\n", static_cast<long long>(r.steps),
              static_cast<long long>(r.tokens), format_duration(r.seconds).c_str(), r.final_loss,
              r.interrupted ? ", interrupted: no model written" : "");
  return r.interrupted ? 1 : 0;
}

}  // namespace

const Verb kFinetuneVerb = {"finetune", "puyu finetune CONFIG.toml --out runs/NAME [--key=value ...]",
                            "fine-tune a model on dialogues", run};

}  // namespace puyu
