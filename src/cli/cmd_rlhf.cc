// puyu rlhf CONFIG.toml --out runs/NAME: improve a model by PPO against a reward model.
#include <cstdio>

#include "align/stages.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/rollout.h"
#include "cli/verbs.h"

namespace puyu {
namespace {

struct RlhfCli {
  std::string out;
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder of the run");
  }
};

constexpr const char* kText =
    "PPO on arithmetic questions of the training part: actor, critic, frozen reference and reward; answers are "
    "sampled\n"
    "by the serving engine.\n\n"
    "example: puyu rlhf runs/demo/rlhf/manifest.toml --out runs/rlhf --model=runs/sft/model "
    "--reward=runs/reward/model\n"
    "         repeats the demo's run on other models; a manifest.toml is a config with every option in it\n"
    "\noptions of CONFIG.toml:\n";

int run(const std::vector<std::string>& argv) {
  RlhfCli cli;
  RlhfOptions o;
  Fields f = list_fields(cli);
  if (wants_help(argv, kRlhfVerb, kText + fields_help(list_fields(o)), f)) return 0;
  const Args a = parse_args(argv, f, {}, true);
  if (a.positional.size() != 1) throw UsageError("expected one CONFIG.toml");
  if (cli.out.empty()) throw UsageError("expected --out, the folder of the run");
  load_config(o, read_file(a.positional[0]), a.positional[0], a.overrides);
  const PpoReport r = rlhf(o, engine_rollout(), cli.out);
  const PpoPoint last = r.curve.empty() ? PpoPoint{} : r.curve.back();
  std::printf("%lld steps in %s; last: score %.3f, %.1f %% of sampled answers right, KL %.4f%s\n",
              static_cast<long long>(r.steps), format_duration(r.seconds).c_str(), last.score, 100 * last.accuracy,
              last.kl, r.interrupted ? "; interrupted: no model written" : "");
  return r.interrupted ? 1 : 0;
}

}  // namespace

const Verb kRlhfVerb = {"rlhf", "puyu rlhf CONFIG.toml --out runs/NAME [--key=value ...]",
                        "improve a model by PPO against a reward model", run};

}  // namespace puyu
