// puyu plan train: memory and time of a training run before it is started, and the search for its best layout.
#include <chrono>
#include <cstdio>
#include <limits>

#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "cli/plan.h"
#include "cli/plan_report.h"
#include "cli/verbs.h"
#include "model/source.h"
#include "train/options.h"
#include "train/plan_search.h"

namespace puyu {
namespace {

constexpr int64_t kNotGiven = std::numeric_limits<int64_t>::min();

struct PlanOptions {
  std::string cluster = "here";
  std::string save_cluster;
  bool search = false, json = false;
  int64_t top = 5;
  int64_t sequence = 0, context = 0;
  std::string system = "puyu", mode, schedule;
  RankLayout layout;
  Cluster machine;
  template <class F>
  void fields(F&& f) {
    f("cluster", cluster,
      "here (this machine, measured now), a100, a800, h100, h800, h200, or a TOML file of the "
      "options from nodes to overlap; each of them overrides");
    f("save_cluster", save_cluster, "write the cluster to this TOML file, for --cluster");
    f("search", search, "try every layout, print the best and why the others are not");
    f("top", top, "layouts that --search prints");
    f("json", json, "print JSON");
    f("sequence", sequence, "tokens a sequence; 0 = those of the configuration's longest phase");
    f("system", system, "whose run: puyu or internevo (what is kept in which type, what is sent in which pieces)");
    f("mode", mode,
      "what tensor ranks split: mtp, msp, fsp (heads and widths) or isp (sequences); empty = parallel.tensor_mode");
    f("context", context, "ranks that split each sequence (ring attention); 0 = parallel.context");
    f("weight", layout.weight,
      "system = internevo, isp: ranks that share one copy of the weights; 0 = the tensor ranks");
    f("zero_ranks", layout.zero_ranks, "ZeRO 1 in groups of so many ranks (1.5); 0 = all data ranks");
    f("schedule", schedule,
      "of pipeline ranks: 1f1b, interleaved or zb-h1; empty = the run's parallel.pipeline_schedule and "
      "pipeline_chunks");
    f("chunks", layout.chunks, "with --schedule=interleaved: chunks of blocks of a pipeline rank");
    machine.fields(f);
  }
};

constexpr const char* kHelp =
    R"(Says what a training run takes before it is started: memory of the fullest rank part by part, whether it fits, the time
of a step split into arithmetic, communication that is not hidden, pipeline bubble and optimizer, tokens per second and
rank (tgs) and MFU. CONFIG.toml: of puyu train, whose --key=value are taken too; or a published size: 1.8b, 7b, 20b.

  puyu plan train configs/tiny.toml                                       on this machine, measured in a few seconds
  puyu plan train configs/internlm2-7b.toml --cluster=h100 --nodes=16 --parallel.tensor=8 --mode=isp
  puyu plan train 20b --cluster=a800 --nodes=128 --search                 the best layouts for 1024 GPUs
  puyu plan train 7b --cluster=a100 --nodes=4 --inter_gbs=25 --search     a slower network
  puyu plan train 7b --cluster=here --save_cluster=here.toml              measure once, plan with --cluster=here.toml

The equations, where each comes from and how well they hold: docs/plan.md, docs/benchmarks/plan.md. puyu trains with
data (ZeRO 0 to 3), tensor and pipeline ranks; other ranks are planned for before they are there.
)";

bool is_size(const std::string& s) { return s == "1.8b" || s == "7b" || s == "20b"; }

// "a.b=value" of the run's configuration; a key that neither list has is refused with the nearest of both.
void override_option(const Fields& train, const Fields& plan, const std::string& assignment) {
  const std::string key = assignment.substr(0, assignment.find('=')), root = key.substr(0, key.find('.'));
  Fields all = train;
  all.insert(all.end(), plan.begin(), plan.end());
  try {
    for (const Field& f : train)
      if (f.name == root) return set_field(train, assignment);
    unknown_key(all, key, "option");
  } catch (const Error& e) { throw UsageError(e.what()); }
}

TrainOptions read_options(const std::string& config, const std::vector<std::string>& overrides, const Fields& plan) {
  TrainOptions o;
  Fields f = list_fields(o);
  if (is_size(config)) {
    o.model = published_config(config), o.dtype = "bf16", o.batch_tokens = 4194304, o.micro_tokens = 4096;
    o.phases.resize(1);
  } else {
    read_toml(f, read_file(config), config);
  }
  for (const std::string& a : overrides) override_option(f, plan, a);
  if (!o.init_from.empty()) o.model = open_model_source(o.init_from)->config();
  o.model.validate();
  return o;
}

TrainJob job_of(const TrainOptions& o, const PlanOptions& p, bool has_micro) {
  TrainJob job;
  job.model = o.model;
  if (o.dtype != "f32" && o.dtype != "bf16") fail("[plan] dtype: expected f32 or bf16, got '", o.dtype, "'");
  job.dtype = o.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  job.again = parse_again(o.recompute), job.system = parse_system(p.system);
  job.batch_tokens = o.batch_tokens, job.micro_tokens = o.micro_tokens, job.sequence = p.sequence;
  int64_t longest = 0;
  for (const PhaseOptions& phase : o.phases) {
    if (phase.seq_len <= longest) continue;
    longest = phase.seq_len;
    if (phase.batch_tokens) job.batch_tokens = phase.batch_tokens;
  }
  if (p.sequence < 0) fail("[plan] sequence: expected 0 or more, got ", p.sequence);
  if (p.sequence == 0) job.sequence = longest;
  if (job.sequence == 0) fail("[plan] the configuration has no phases; give --sequence");
  if (!has_micro) job.micro_tokens = std::max(job.micro_tokens, job.sequence);
  return job;
}

RankLayout layout_of(const TrainOptions& o, const PlanOptions& p) {
  RankLayout l = p.layout;
  l.data = o.parallel.mesh.data, l.tensor = o.parallel.mesh.tensor, l.pipeline = o.parallel.mesh.pipeline;
  if (o.parallel.zero < 0 || o.parallel.zero > 3)
    fail("[plan] parallel.zero: expected 0, 1, 2 or 3, got ", o.parallel.zero);
  l.zero = static_cast<int>(o.parallel.zero);
  l.context = p.context ? p.context : o.parallel.mesh.context;
  l.mode = parse_mode(p.mode.empty() ? o.parallel.tensor_mode : p.mode);
  if (p.schedule.empty() && l.pipeline > 1)
    l.schedule = parse_schedule(o.parallel.pipeline_schedule), l.chunks = o.parallel.pipeline_chunks;
  if (!p.schedule.empty()) l.schedule = parse_schedule(p.schedule);
  return l;
}

// What --cluster names; the options that override it are set after this.
Cluster cluster_of(const PlanOptions& p, int64_t ranks, const std::string& dtype) {
  if (p.cluster == "here") {
    log_info("measuring this machine");
    return measure_machine(ranks, dtype);
  }
  if (!file_exists(p.cluster)) return cluster_preset(p.cluster);
  Cluster c;
  read_toml(list_fields(c), read_file(p.cluster), p.cluster);
  return c;
}

int search(const TrainJob& job, const RankLayout& layout, const PlanOptions& p) {
  if (p.top < 1) throw UsageError(cat("--top: expected at least 1, got ", p.top));
  const auto start = std::chrono::steady_clock::now();
  const SearchResult r = search_layouts(job, layout, p.machine, static_cast<size_t>(p.top));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (p.json)
    std::printf("%s\n", to_json(r).dump().c_str());
  else
    std::printf("%s\n%s", describe(job, p.machine).c_str(), to_text(r, seconds).c_str());
  return r.best.empty() ? 1 : 0;
}

}  // namespace

int run_plan_train(const std::vector<std::string>& argv) {
  PlanOptions p;
  Fields f = list_fields(p);
  const Verb verb = {"plan train", "puyu plan train CONFIG.toml|1.8b|7b|20b [options]", "memory and time before a run",
                     run_plan_train};
  p.machine = cluster_preset("a100");
  if (wants_help(argv, verb, kHelp, f)) return 0;
  p.machine.devices = kNotGiven;
  const Args a = parse_args(argv, f, {}, true);
  if (a.positional.size() != 1) throw UsageError("expected one CONFIG.toml, or 1.8b, 7b or 20b");
  const TrainOptions o = read_options(a.positional[0], a.overrides, f);
  bool has_micro = !is_size(a.positional[0]);
  for (const std::string& s : a.overrides) has_micro |= s.starts_with("micro_tokens=");
  const TrainJob asked = job_of(o, p, has_micro);

  const bool here = p.cluster == "here";
  const int64_t ranks = here && p.machine.devices == kNotGiven ? 1 : p.machine.devices;
  if (here && (ranks < 1 || ranks > 1024)) fail("[plan] cluster devices: expected 1 to 1024 ranks here, got ", ranks);
  p.machine = cluster_of(p, ranks, o.dtype);
  parse_args(argv, f, {}, true);  // once more, over the cluster's own values
  p.machine.validate();
  if (!p.save_cluster.empty()) write_file(p.save_cluster, to_toml(list_fields(p.machine)));

  TrainJob job = asked;
  if (here) job.threads = o.threads > 0 ? o.threads : std::max<int64_t>(1, num_threads() / ranks);
  const RankLayout layout = layout_of(o, p);
  if (p.search) return search(job, layout, p);
  const TrainPlan plan = plan_training(job, layout, p.machine);
  if (p.json)
    std::printf("%s\n", to_json(plan).dump().c_str());
  else
    std::printf("%s\n%s", describe(job, p.machine).c_str(), to_text(plan).c_str());
  return plan.fits() ? 0 : 1;
}

}  // namespace puyu
