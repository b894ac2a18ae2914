// puyu train CONFIG.toml --out runs/NAME: pre-training.
#include "base/file.h"
#include "cli/verbs.h"
#include "train/trainer.h"

namespace puyu {
namespace {

struct TrainCli {
  std::string out;
  bool resume = false;
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder of the run");
    f("resume", resume, "continue the run in --out from its newest whole checkpoint");
  }
};

constexpr const char* kText =
    "Pre-trains a model on token shards. CONFIG.toml holds the options below; --key=value overrides one.\n"
    "The run's folder gets manifest.toml, metrics.jsonl, tensorboard/, checkpoints/ and at the end model/.\n"
    "Ctrl-C saves a checkpoint and stops; --resume goes on, bit for bit as if it had never stopped.\n\n"
    "example: puyu train configs/tiny.toml --out runs/tiny --lr=1e-3 --phases.0.steps=200\n"
    "\noptions of CONFIG.toml:\n";

int run(const std::vector<std::string>& argv) {
  TrainCli cli;
  TrainOptions options;
  Fields f = list_fields(cli);
  if (wants_help(argv, kTrainVerb, kText + fields_help(list_fields(options)), f)) return 0;
  Args a = parse_args(argv, f, {}, true);
  if (a.positional.size() != 1) throw UsageError("expected one CONFIG.toml");
  if (cli.out.empty()) throw UsageError("expected --out, the folder of the run");
  const std::string& path = a.positional[0];
  load_config(options, read_file(path), path, a.overrides);
  return train(options, cli.out, cli.resume).interrupted && options.stop_at == 0 ? 1 : 0;
}

}  // namespace

const Verb kTrainVerb = {"train", "puyu train CONFIG.toml --out runs/NAME [--key=value ...] [--resume]",
                         "pre-train a model on token shards", run};

}  // namespace puyu
