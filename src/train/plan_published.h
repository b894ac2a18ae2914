// Measurements that others have published, with the runs they are of: what the planner's predictions are held against
// (plan_published_test.cc, `puyu plan published`, docs/benchmarks/plan.md).
#pragma once
#include "train/plan.h"

namespace puyu {

struct PublishedPoint {
  std::string series;  // "tp 1, zero1 8"
  std::string source;
  TrainJob job;
  RankLayout layout;
  Cluster cluster;
  bool mfu = false;         // value: MFU by InternEvo's formula, recompute not counted; else tokens a second and device
  bool calibrated = false;  // one of the few that the constants of plan_cluster.cc were chosen on
  double value = 0;
};
std::vector<PublishedPoint> published_points();
double predict(const PublishedPoint& p);  // in the unit of value

}  // namespace puyu
