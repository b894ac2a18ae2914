#include "train/plan_search.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/progress.h"
#include "train/plan_sizes.h"

namespace puyu {
namespace {

std::vector<int64_t> divisors(int64_t n, int64_t most) {
  std::vector<int64_t> out;
  for (int64_t d = 1; d <= std::min(n, most); ++d)
    if (n % d == 0) out.push_back(d);
  return out;
}

std::string gigabytes(double bytes) { return cat(static_cast<double>(static_cast<int64_t>(bytes / 1e8)) / 10, " GB"); }

class Search {
 public:
  Search(const TrainJob& job, const RankLayout& fixed, const Cluster& cluster)
      : job_(job), fixed_(fixed), cluster_(cluster), sizes_(job.model) {}
  SearchResult run(size_t top);

 private:
  void splits(int64_t tensor, int64_t context, int64_t pipeline);
  void schedules(RankLayout l);
  void states(RankLayout l);
  void micros(RankLayout l);
  void attempt(RankLayout l);
  void refuse(const std::string& kind, const std::string& text);
  bool better_than_known(const TrainPlan& p);

  TrainJob job_;
  const RankLayout fixed_;
  const Cluster& cluster_;
  Sizes sizes_;
  SearchResult out_;
  double least_over_ = std::numeric_limits<double>::infinity();
};

void Search::refuse(const std::string& kind, const std::string& text) {
  for (auto& r : out_.refused)
    if (r.kind == kind) {
      ++r.count;
      return;
    }
  out_.refused.push_back({kind, 1, text});
}

// One plan is kept for each division into tensor, context and pipeline ranks.
void Search::attempt(RankLayout l) {
  ++out_.tried;
  if (const Refusal r = why_not(job_, l, cluster_)) return refuse(r.kind, r.text);
  const TrainPlan p = plan_training(job_, l, cluster_, sizes_);
  if (!p.fits()) {
    refuse("memory", "");
    const double over = p.memory.total() - p.memory_limit;
    if (over >= least_over_) return;
    least_over_ = over;
    for (auto& r : out_.refused)
      if (r.kind == "memory")
        r.example =
            cat("nearest: ", to_string(p), " needs ", gigabytes(p.memory.total()), " of ", gigabytes(p.memory_limit));
    return;
  }
  ++out_.fitting;
  auto same = [&](const TrainPlan& q) {
    return q.layout.tensor == l.tensor && q.layout.context == l.context && q.layout.pipeline == l.pipeline &&
           (l.tensor == 1 || (q.layout.mode == PlanMode::kIsp) == (l.mode == PlanMode::kIsp));
  };
  const auto known = std::find_if(out_.best.begin(), out_.best.end(), same);
  if (known == out_.best.end())
    out_.best.push_back(p);
  else if (p.tgs > known->tgs)
    *known = p;
}

void Search::micros(RankLayout l) {
  const Again levels[] = {Again::kNone, Again::kSelective, Again::kFull, Again::kKeepAttention};
  for (const Again a : levels) {
    if (a == Again::kKeepAttention && job_.system == System::kPuyu) continue;  // puyu has no such level
    for (const int64_t sequences : {1, 2, 4, 8}) {
      job_.again = a, job_.micro_tokens = sequences * job_.sequence;
      if (sequences > 1 && job_.micro_tokens * l.data > job_.batch_tokens) break;
      attempt(l);
    }
  }
}

void Search::states(RankLayout l) {
  const int64_t same = l.data * l.context * l.tensor / std::max<int64_t>(1, weight_split(l));
  l.zero = 1, l.zero_ranks = 0;
  micros(l);
  const int64_t in_node = std::max<int64_t>(1, cluster_.devices / weight_split(l));
  if (in_node > 1 && in_node < same && same % in_node == 0) {
    l.zero_ranks = in_node;
    micros(l);
    l.zero_ranks = 0;
  }
  for (int zero : {2, 3}) {
    if ((l.pipeline > 1 && job_.system == System::kInternEvo) || same == 1) break;
    l.zero = zero;
    micros(l);
  }
}

void Search::schedules(RankLayout l) {
  l.schedule = Schedule::kOneForwardOneBackward, l.chunks = 1;
  states(l);
  if (l.pipeline == 1) return;
  l.schedule = Schedule::kZeroBubble;
  states(l);
  l.schedule = Schedule::kInterleaved;
  for (l.chunks = 2; l.chunks <= 4 && l.chunks * l.pipeline <= job_.model.num_layers; l.chunks *= 2) states(l);
}

void Search::splits(int64_t tensor, int64_t context, int64_t pipeline) {
  RankLayout l;
  l.tensor = tensor, l.context = context, l.pipeline = pipeline;
  l.data = cluster_.ranks() / (tensor * context * pipeline);
  schedules(l);
  for (const PlanMode m : {PlanMode::kMsp, PlanMode::kFsp, PlanMode::kIsp}) {
    if (tensor == 1) break;
    l.mode = m;
    const bool own = job_.system == System::kPuyu;
    l.weight = m == PlanMode::kIsp && own ? 1 : 0;
    schedules(l);
    if (m == PlanMode::kIsp && tensor < cluster_.devices && !own) {
      l.weight = cluster_.devices;
      schedules(l);
      l.weight = 0;
    }
  }
}

SearchResult Search::run(size_t top) {
  const int64_t ranks = cluster_.ranks();
  auto sizes = [](int64_t fixed, std::vector<int64_t> all) { return fixed > 1 ? std::vector<int64_t>{fixed} : all; };
  // Beyond these a rank is left with less than one head, block or 1024 tokens; one size past each shows the reason.
  for (const int64_t t : sizes(fixed_.tensor, divisors(ranks, 2 * std::min(cluster_.devices, job_.model.num_kv_heads))))
    for (const int64_t c : sizes(fixed_.context, divisors(ranks / t, std::max<int64_t>(1, job_.sequence / 1024))))
      for (const int64_t p : sizes(fixed_.pipeline, divisors(ranks / t / c, 2 * job_.model.num_layers)))
        if (ranks % (t * c * p) == 0) splits(t, c, p);
  std::stable_sort(out_.best.begin(), out_.best.end(), [](const auto& a, const auto& b) { return a.tgs > b.tgs; });
  if (out_.best.size() > top) out_.best.resize(top);
  std::stable_sort(out_.refused.begin(), out_.refused.end(),
                   [](const auto& a, const auto& b) { return a.count > b.count; });
  return std::move(out_);
}

}  // namespace

SearchResult search_layouts(const TrainJob& job, const RankLayout& fixed, const Cluster& cluster, size_t top) {
  cluster.validate();
  job.model.validate();
  return Search(job, fixed, cluster).run(top);
}

}  // namespace puyu
