// puyu bench: what this machine can do, and how much of it puyu uses. Not named cmd_bench.cc, because *_bench.cc are
// micro-benchmarks.
#include "cli/bench.h"
#include "cli/verbs.h"

namespace puyu {
namespace {

constexpr const char* kHelp =
    "limits    FLOP/s in f32 and bf16, int8 operations and read bandwidth, with one thread and with all\n"
    "train     a training step of a few sizes: tokens per second and MFU, against the peak measured in the same run\n"
    "generate  prefill and decode of a random model of a published size, against the limits of the same run\n"
    "serve     load on a server with OpenAI's API; has options of its own: puyu bench serve --help\n\n"
    "example: puyu bench train --hidden=512,1024 --layers=8 --json\n";

int run(const std::vector<std::string>& argv) {
  if (!argv.empty() && argv[0] == "serve") return run_bench_serve({argv.begin() + 1, argv.end()});
  BenchOptions o;
  Fields f = list_fields(o);
  if (wants_help(argv, kBenchVerb, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 1) throw UsageError("expected one of: limits, train, generate, serve");
  if (o.rounds < 1) throw UsageError("--rounds: expected at least 1");
  if (a.positional[0] == "limits") return run_bench_limits(o);
  if (a.positional[0] == "train") return run_bench_train(o);
  if (a.positional[0] == "generate") return run_bench_generate(o);
  throw UsageError(cat("no benchmark '", a.positional[0], "': expected limits, train, generate or serve"));
}

}  // namespace

const Verb kBenchVerb = {"bench", "puyu bench limits|train|generate|serve [options] [--json]",
                         "measure this machine and puyu on it", run};

}  // namespace puyu
