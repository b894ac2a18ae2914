#include "train/plan.h"

#include <algorithm>
#include <cmath>

#include "base/config.h"
#include "base/error.h"
#include "train/plan_sizes.h"

namespace puyu {
namespace {

template <class E>
struct Name {
  E value;
  const char* name;
};
constexpr Name<Again> kAgain[] = {{Again::kNone, "none"},
                                  {Again::kSelective, "selective"},
                                  {Again::kKeepAttention, "keep_attention"},
                                  {Again::kFull, "full"}};
constexpr Name<PlanMode> kModes[] = {
    {PlanMode::kMtp, "mtp"}, {PlanMode::kMsp, "msp"}, {PlanMode::kFsp, "fsp"}, {PlanMode::kIsp, "isp"}};
constexpr Name<Schedule> kSchedules[] = {{Schedule::kOneForwardOneBackward, "1f1b"},
                                         {Schedule::kInterleaved, "interleaved"},
                                         {Schedule::kZeroBubble, "zb-h1"}};
constexpr Name<System> kSystems[] = {{System::kPuyu, "puyu"}, {System::kInternEvo, "internevo"}};

template <class E, size_t N>
E parse(const Name<E> (&names)[N], const char* field, const std::string& s) {
  std::string all;
  std::vector<std::string> known;
  for (const auto& n : names) {
    if (s == n.name) return n.value;
    all += (all.empty() ? "" : ", ") + std::string(n.name);
    known.emplace_back(n.name);
  }
  const std::string near = nearest(s, known);
  fail("[plan] ", field, ": expected one of ", all, ", got '", s, "'",
       near.empty() ? "" : cat("; did you mean '", near, "'?"));
}

template <class E, size_t N>
const char* name(const Name<E> (&names)[N], E value) {
  for (const auto& n : names)
    if (n.value == value) return n.name;
  return "?";
}

void check_sizes(const TrainJob& job, const RankLayout& l) {
  constexpr int64_t kMost = 1 << 20;
  auto between = [](const char* field, int64_t v, int64_t low, int64_t high) {
    if (v < low || v > high) fail("[plan] ", field, ": expected ", low, " to ", high, ", got ", v);
  };
  between("sequence", job.sequence, 1, int64_t{1} << 40);
  between("batch_tokens", job.batch_tokens, 1, int64_t{1} << 50);
  between("micro_tokens", job.micro_tokens, 1, int64_t{1} << 40);
  between("parallel.data", l.data, 0, kMost);
  for (auto [field, v] : {std::pair{"parallel.tensor", l.tensor},
                          {"context", l.context},
                          {"parallel.pipeline", l.pipeline},
                          {"chunks", l.chunks}})
    between(field, v, 1, kMost);
  between("parallel.zero", l.zero, 0, 3);
  between("zero_ranks", l.zero_ranks, 0, kMost);
  between("weight", l.weight, 0, kMost);
}

Refusal batch_refusal(const TrainJob& job, const RankLayout& l) {
  if (job.micro_tokens < job.sequence)
    return {"micro-batch", cat("a sequence of ", job.sequence, " tokens does not fit micro_tokens ", job.micro_tokens)};
  if (job.batch_tokens < l.data * job.sequence)
    return {"batch", cat("a batch of ", job.batch_tokens, " tokens has not one sequence of ", job.sequence,
                         " for each of ", l.data, " data ranks")};
  if (job.sequence % (l.context * (l.mode == PlanMode::kIsp ? l.tensor : 1)) != 0)
    return {"sequence", cat("sequences of ", job.sequence, " tokens cannot be split over ", l.context, " context x ",
                            l.tensor, " tensor ranks")};
  return {};
}

Refusal state_refusal(const TrainJob& job, const RankLayout& l) {
  const Group all = gradient_group(l);
  if (l.weight && l.mode != PlanMode::kIsp)
    return {"weight ranks", "weights are split over ranks of their own with isp only; set mode = isp or weight = 0"};
  if (job.system == System::kPuyu && l.weight > 1)
    return {"weight ranks", cat("puyu has no groups of ", l.weight, " ranks that share one copy of the weights; set ",
                                "parallel.zero = 3, which splits them over all, or system = internevo")};
  if (l.data * l.context * l.tensor % weight_split(l) != 0)
    return {"weight ranks", cat(l.data * l.context * l.tensor, " ranks of a stage cannot be split into groups of ",
                                weight_split(l), " that share the weights")};
  if (l.zero_ranks && all.size % l.zero_ranks != 0)
    return {"zero ranks", cat("the ", all.size, " ranks with the same weights cannot be split into groups of ",
                              l.zero_ranks, " for the optimizer state")};
  if (l.zero_ranks && l.zero_ranks != all.size && l.zero > 1)
    return {"zero ranks", cat("ZeRO ", l.zero, " in groups of ", l.zero_ranks,
                              " is not planned: groups smaller than all are for zero = 1 (ZeRO 1.5)")};
  if (l.pipeline > 1 && l.zero > 1 && job.system == System::kInternEvo)
    return {"zero with pipeline", cat("InternEvo has no ZeRO ", l.zero, " with pipeline ranks; use zero = 1")};
  return {};
}

}  // namespace

const char* name_of(Again a) { return name(kAgain, a); }
const char* name_of(PlanMode m) { return name(kModes, m); }
const char* name_of(Schedule s) { return name(kSchedules, s); }
Again parse_again(const std::string& s) { return parse(kAgain, "recompute", s); }
PlanMode parse_mode(const std::string& s) { return parse(kModes, "mode", s); }
Schedule parse_schedule(const std::string& s) { return parse(kSchedules, "schedule", s); }
System parse_system(const std::string& s) { return parse(kSystems, "system", s); }

Refusal why_not(const TrainJob& job, RankLayout& l, const Cluster& cluster) {
  check_sizes(job, l);
  const ModelConfig& c = job.model;
  const int64_t others = l.tensor * l.context * l.pipeline;
  if (l.data == 0) l.data = std::max<int64_t>(1, cluster.ranks() / others);
  if (l.weight == 0 && l.mode == PlanMode::kIsp) l.weight = job.system == System::kPuyu ? 1 : l.tensor;
  if (l.data * others != cluster.ranks())
    return {"ranks", cat(l.data, " data x ", l.tensor, " tensor x ", l.context, " context x ", l.pipeline,
                         " pipeline = ", l.data * others, " ranks, but the cluster has ", cluster.ranks())};
  if (c.num_kv_heads % l.tensor != 0)
    return {"heads",
            cat("the model's ", c.num_kv_heads, " key/value heads cannot be split over ", l.tensor, " tensor ranks")};
  if (l.mode != PlanMode::kIsp && (c.intermediate_size % l.tensor != 0 || c.vocab_size % l.tensor != 0))
    return {"widths", cat("feed-forward width ", c.intermediate_size, " or vocabulary ", c.vocab_size,
                          " cannot be split over ", l.tensor, " tensor ranks")};
  const int64_t chunks = l.schedule == Schedule::kInterleaved ? l.chunks : 1;
  if (l.pipeline * chunks > c.num_layers)
    return {"blocks", cat("the model's ", c.num_layers, " blocks cannot be split over ", l.pipeline, " pipeline ranks",
                          chunks > 1 ? cat(" of ", chunks, " chunks") : "")};
  const bool even = job.system == System::kPuyu || c.num_layers % (l.pipeline * l.chunks) == 0;
  if (l.schedule == Schedule::kInterleaved && (l.chunks < 2 || !even))
    return {"chunks",
            cat("interleaved needs at least 2 chunks", even ? "" : " that divide ",
                even ? "" : cat(c.num_layers, " blocks over ", l.pipeline, " ranks evenly"), ", got ", l.chunks)};
  if (l.schedule != Schedule::kOneForwardOneBackward && l.pipeline == 1)
    return {"schedule", cat("schedule ", name_of(l.schedule), " needs pipeline ranks")};
  if (Refusal r = state_refusal(job, l)) return r;
  if (Refusal r = batch_refusal(job, l)) return r;
  if (l.schedule == Schedule::kInterleaved && micro_batches(job, l) % l.pipeline != 0)
    return {"chunks", cat("interleaved is planned for micro-batches that ", l.pipeline, " divides, there are ",
                          micro_batches(job, l))};
  return {};
}

TrainPlan plan_training(const TrainJob& job, const RankLayout& l, const Cluster& cluster, Sizes& sizes) {
  TrainPlan p;
  p.layout = l, p.again = job.again;
  p.micro_batches = micro_batches(job, l);
  p.micro_tokens = std::min(job.micro_tokens, (job.batch_tokens + l.data - 1) / l.data);
  p.memory = plan_memory(job, l, sizes);
  p.memory_limit = cluster.memory_bytes();
  p.time = plan_time(job, l, cluster, sizes);
  p.tokens_per_second = static_cast<double>(job.batch_tokens) / p.time.total();
  p.tgs = p.tokens_per_second / static_cast<double>(l.ranks());
  const auto s = static_cast<double>(job.sequence);
  const double share = p.tgs / cluster.peak(job.dtype);
  p.mfu = share * job.model.train_flops_per_token(s);
  p.mfu_megatron = share * megatron_flops_per_token(job.model, s, false);
  p.mfu_internevo = share * megatron_flops_per_token(job.model, s, job.again != Again::kNone);
  return p;
}

TrainPlan plan_training(const TrainJob& job, const RankLayout& layout, const Cluster& cluster) {
  cluster.validate();
  job.model.validate();
  RankLayout l = layout;
  if (const Refusal r = why_not(job, l, cluster)) fail("[plan] ", r.text);
  Sizes sizes(job.model);
  return plan_training(job, l, cluster, sizes);
}

std::string to_string(const TrainPlan& p) {
  const RankLayout& l = p.layout;
  std::string out = cat("data ", l.data);
  if (l.tensor > 1) out += cat(" · tensor ", l.tensor, " ", name_of(l.mode));
  if (l.mode == PlanMode::kIsp && weight_split(l) != l.tensor && weight_split(l) > 1)
    out += cat(" · weights over ", weight_split(l));
  if (l.context > 1) out += cat(" · context ", l.context);
  if (l.pipeline > 1) out += cat(" · pipeline ", l.pipeline, " ", name_of(l.schedule));
  if (l.schedule == Schedule::kInterleaved) out += cat(" of ", l.chunks, " chunks");
  out += cat(" · ZeRO ", l.zero);
  if (l.zero_ranks) out += cat(" of ", l.zero_ranks);
  return out + cat(" · recompute ", name_of(p.again), " · ", p.micro_batches, " x ", p.micro_tokens, " tokens");
}

}  // namespace puyu
