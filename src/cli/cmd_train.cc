// puyu train CONFIG.toml --out runs/NAME: pre-training, by one process or by as many as mpirun or srun started.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "cli/train_eval.h"
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
    "Ctrl-C saves a checkpoint and stops; --resume goes on, bit for bit as if it had never stopped.\n"
    "mpirun -n 4 puyu train ... trains the same run on 4 ranks; --resume goes on with any other number too.\n"
    "mpirun -n 8 puyu train ... --parallel.tensor=2 --parallel.pipeline=2 --parallel.pipeline_schedule=zb-h1 splits "
    "it\n"
    "over 2 data x 2 tensor x 2 pipeline ranks.\n\n"
    "example: puyu train configs/tiny.toml --out runs/tiny --lr=1e-3 --phases.0.steps=200\n"
    "\noptions of CONFIG.toml:\n";

int train_on(Comm& world, const std::vector<std::string>& argv) {
  TrainCli cli;
  TrainOptions options;
  Fields f = list_fields(cli);
  Args a = parse_args(argv, f, {}, true);
  if (a.positional.size() != 1) throw UsageError("expected one CONFIG.toml");
  if (cli.out.empty()) throw UsageError("expected --out, the folder of the run");
  const std::string& path = a.positional[0];
  load_config(options, read_file(path), path, a.overrides);
  const Evaluate evaluate = make_evaluate(options.eval, options.tokenizer);
  return train(options, cli.out, cli.resume, world, evaluate).interrupted && options.stop_at == 0 ? 1 : 0;
}

// One rank's error is the end of all: the others would wait for it. What every rank meets (a wrong config) is said by
// rank 0, to which the others leave a moment.
[[noreturn]] void end_all(Comm& world, const char* what, int code) {
  if (world.rank() > 0) std::this_thread::sleep_for(std::chrono::seconds(2));
  std::fprintf(stderr, "puyu train: rank %d: %s\n", world.rank(), what);
  world.abort(code);
  std::abort();  // not reached: GCC 12 does not believe a virtual function
}

int run(const std::vector<std::string>& argv) {
  TrainCli cli;
  TrainOptions options;
  if (wants_help(argv, kTrainVerb, kText + fields_help(list_fields(options)), list_fields(cli))) return 0;
  const std::unique_ptr<Comm> world = world_comm();
  if (world->size() == 1) return train_on(*world, argv);
  try {
    return train_on(*world, argv);
  } catch (const UsageError& e) { end_all(*world, e.what(), 2); } catch (const std::exception& e) {
    end_all(*world, e.what(), 1);
  }
}

}  // namespace

const Verb kTrainVerb = {"train", "puyu train CONFIG.toml --out runs/NAME [--key=value ...] [--resume]",
                         "pre-train a model on token shards", run};

}  // namespace puyu
