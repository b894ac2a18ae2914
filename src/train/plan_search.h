// The layouts of a cluster, tried one by one: which are fastest, and why the others are not.
#pragma once
#include "train/plan.h"

namespace puyu {

struct SearchResult {
  struct Reason {
    std::string kind;
    int64_t count = 0;
    std::string example;
  };
  std::vector<TrainPlan> best;  // fitting, fastest first; the best of each division into ranks
  int64_t tried = 0, fitting = 0;
  std::vector<Reason> refused;  // the most frequent first
};

// job.again and job.micro_tokens are tried too, and of `fixed` only mode and data are ignored: sizes above 1 there
// stay.
SearchResult search_layouts(const TrainJob& job, const RankLayout& fixed, const Cluster& cluster, size_t top);

}  // namespace puyu
