#include "train/plan_published.h"

namespace puyu {
namespace {

constexpr const char* kPerformance = "InternEvo, doc/en/train_performance.md at c628a8c";
constexpr const char* kReport = "InternLM2 report (arXiv 2403.17297), section 2.1 and figure 1";
constexpr const char* kXTuner = "XTuner's table of long sequences (docs of b934f46)";

ModelConfig internlm_7b() {  // the first InternLM, which these tests trained
  ModelConfig c;
  c.vocab_size = 103168, c.hidden_size = 4096, c.num_layers = 32, c.num_heads = c.num_kv_heads = 32;
  c.intermediate_size = 11008, c.max_position = 1 << 20;
  return c;
}
ModelConfig llama2(bool large) {
  ModelConfig c = internlm_7b();
  c.vocab_size = 32000;
  if (large) c.hidden_size = 8192, c.num_layers = 80, c.num_heads = 64, c.num_kv_heads = 8, c.intermediate_size = 28672;
  return c;
}

// doc/en/train_performance.md: A100-SXM4-80GB, 4 x 100 Gb/s RoCE between machines.
Cluster roce(int64_t ranks) {
  Cluster c = cluster_preset("a100");
  c.nodes = ranks / 8, c.inter_gbs = 50, c.inter_us = 20;
  return c;
}
Cluster a800(int64_t ranks) {
  Cluster c = cluster_preset("a800");
  c.nodes = ranks / 8;
  return c;
}

struct Run {
  int64_t ranks, tensor, zero_ranks, micro, micros;
  bool recompute;
};
PublishedPoint internevo(const std::string& series, const Run& r, double tgs) {
  PublishedPoint p;
  p.series = series, p.source = kPerformance, p.value = tgs;
  p.cluster = roce(r.ranks);
  p.job.model = internlm_7b(), p.job.system = System::kInternEvo, p.job.sequence = 2048;
  p.job.micro_tokens = r.micro, p.job.again = r.recompute ? Again::kFull : Again::kNone;
  p.layout.data = r.ranks / r.tensor, p.layout.tensor = r.tensor, p.layout.zero_ranks = r.zero_ranks;
  p.job.batch_tokens = p.layout.data * r.micro * r.micros;
  return p;
}

void add_scaling(std::vector<PublishedPoint>& out) {
  struct Row {
    const char* series;
    int64_t tensor, zero_ranks, micro;
    double tgs[8];
  };
  for (const Row& r : {Row{"tp 1, zero1 8", 1, 8, 4096, {4078, 3939, 3919, 3944, 3928, 3920, 3835, 3625}},
                       Row{"tp 1, zero1 all", 1, 0, 4096, {4062, 3842, 3752, 3690, 3571, 3209, 2861, 2271}},
                       Row{"tp 2, zero1 4", 2, 4, 8192, {3761, 3658, 3655, 3650, 3651, 3653, 3589, 3486}},
                       Row{"tp 2, zero1 all", 2, 0, 8192, {3822, 3595, 3475, 3438, 3308, 3094, 2992, 2785}}})
    for (int64_t i = 0; i < 8; ++i) {
      out.push_back(internevo(r.series, {int64_t{8} << i, r.tensor, r.zero_ranks, r.micro, 4, false}, r.tgs[i]));
      const bool ends = i == 0 || i == 7;
      out.back().calibrated = (r.tensor == 1 && r.zero_ranks == 8 && ends) ||
                              (r.tensor == 1 && !r.zero_ranks && i == 7) || (r.tensor == 2 && r.zero_ranks && i == 0);
    }
}

void add_recompute(std::vector<PublishedPoint>& out) {
  const double full[] = {3314, 3268, 3323, 3217, 3260, 3215, 3199, 3163};
  for (int64_t i = 0; i < 8; ++i)
    out.push_back(internevo("recompute, 16k a step and GPU", {int64_t{8} << i, 1, 8, 16384, 1, true}, full[i]));
  out.push_back(internevo("recompute, 4M batch", {512, 1, 8, 8192, 1, true}, 2963));
  out.push_back(internevo("recompute, 4M batch", {1024, 1, 8, 4096, 1, true}, 2341));
  out.push_back(internevo("recompute, 8M batch", {1024, 1, 8, 8192, 1, true}, 2796));
  out.push_back(internevo("4M batch", {256, 1, 8, 4096, 4, false}, 3920));
  out.push_back(internevo("4M batch", {512, 1, 8, 4096, 2, false}, 3084));
  out.push_back(internevo("4M batch", {1024, 1, 8, 4096, 1, false}, 2346));
  out.back().calibrated = true;
  out.push_back(internevo("8M batch", {512, 1, 8, 4096, 4, false}, 3900));
  out.push_back(internevo("8M batch", {1024, 1, 8, 4096, 2, false}, 2817));
}

// The report names neither its network nor its layouts; these are ours: A800, 4 x 200 Gb/s, ZeRO 1.5 in a machine, and
// for 256k tokens a sequence on the eight GPUs of a machine, attention not computed twice.
void add_report(std::vector<PublishedPoint>& out) {
  for (auto [ranks, mfu] : {std::pair{int64_t{8}, 0.64}, {int64_t{1024}, 0.53}}) {
    PublishedPoint p;
    p.series = "report, 4M batch, 4k", p.source = kReport, p.mfu = true, p.value = mfu, p.cluster = a800(ranks);
    p.job.model = internlm_7b(), p.job.system = System::kInternEvo;
    p.layout.data = ranks, p.layout.zero_ranks = 8;
    out.push_back(p);
  }
  PublishedPoint p;
  p.series = "report, 256k", p.source = kReport, p.mfu = true, p.value = 0.88, p.cluster = a800(128);
  p.job.model = internlm_7b(), p.job.system = System::kInternEvo, p.job.again = Again::kKeepAttention;
  p.job.sequence = p.job.micro_tokens = 262144;
  p.layout.data = 16, p.layout.tensor = 8, p.layout.mode = PlanMode::kIsp, p.layout.zero_ranks = 16;
  out.push_back(p);
}

// Ulysses with ZeRO 3 (DeepSpeed) and recompute; the table names neither micro-batches nor network: 16 of one sequence.
void add_xtuner(std::vector<PublishedPoint>& out) {
  struct Row {
    bool large;
    int64_t ranks, sequence, split;
    double tgs;
  };
  for (const Row& r : {Row{false, 8, 8192, 1, 3028}, Row{false, 8, 32768, 1, 2234}, Row{false, 8, 131072, 8, 949},
                       Row{false, 8, 262144, 8, 540}, Row{false, 32, 1048576, 16, 134}, Row{true, 32, 32768, 4, 301}}) {
    PublishedPoint p;
    p.series = r.large ? "XTuner, Llama2 70B" : "XTuner, Llama2 7B", p.source = kXTuner, p.value = r.tgs;
    p.cluster = cluster_preset("a100");
    p.cluster.nodes = r.ranks / 8;
    p.job.model = llama2(r.large), p.job.system = System::kInternEvo, p.job.again = Again::kFull;
    p.job.sequence = p.job.micro_tokens = r.sequence;
    p.layout.data = r.ranks / r.split, p.layout.tensor = r.split, p.layout.mode = PlanMode::kIsp, p.layout.weight = 1;
    p.layout.zero = 3;
    p.job.batch_tokens = 16 * r.sequence * p.layout.data;
    out.push_back(p);
  }
}

}  // namespace

std::vector<PublishedPoint> published_points() {
  std::vector<PublishedPoint> out;
  add_scaling(out), add_recompute(out), add_report(out), add_xtuner(out);
  return out;
}

double predict(const PublishedPoint& p) {
  const TrainPlan plan = plan_training(p.job, p.layout, p.cluster);
  return p.mfu ? plan.mfu_megatron : plan.tgs;
}

}  // namespace puyu
