// puyu reward CONFIG.toml --out runs/NAME: train a reward model on preference pairs.
#include <cstdio>

#include "align/stages.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/rollout.h"
#include "cli/verbs.h"

namespace puyu {
namespace {

struct RewardCli {
  std::string out;
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder of the run");
  }
};

constexpr const char* kText =
    "Trains InternLM2's conditional reward model on preference pairs: right over wrong arithmetic, concise over\n"
    "rambling, and your own JSONL. Starts from an SFT model; prints its accuracy on held-out pairs.\n\n"
    "example: puyu reward runs/demo/reward/manifest.toml --out runs/reward --model=runs/sft/model\n"
    "         repeats the demo's run on another model; a manifest.toml is a config with every option in it\n"
    "\noptions of CONFIG.toml:\n";

int run(const std::vector<std::string>& argv) {
  RewardCli cli;
  RewardRunOptions o;
  Fields f = list_fields(cli);
  if (wants_help(argv, kRewardVerb, kText + fields_help(list_fields(o)), f)) return 0;
  const Args a = parse_args(argv, f, {}, true);
  if (a.positional.size() != 1) throw UsageError("expected one CONFIG.toml");
  if (cli.out.empty()) throw UsageError("expected --out, the folder of the run");
  load_config(o, read_file(a.positional[0]), a.positional[0], a.overrides);
  const RewardReport r = train_reward(o, engine_rollout(), cli.out);
  std::printf("%lld steps in %s, loss %.4f; right on %.1f %% of %lld held-out pairs%s\n",
              static_cast<long long>(r.steps), format_duration(r.seconds).c_str(), r.final_loss, 100 * r.accuracy,
              static_cast<long long>(r.held_out_pairs), r.interrupted ? ", interrupted: no model written" : "");
  return r.interrupted ? 1 : 0;
}

}  // namespace

const Verb kRewardVerb = {"reward", "puyu reward CONFIG.toml --out runs/NAME [--key=value ...]",
                          "train a reward model on preference pairs", run};

}  // namespace puyu
