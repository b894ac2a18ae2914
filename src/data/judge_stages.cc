// The stages that judge a document by lists and models (judges.h).
#include "data/judges.h"
#include "data/stages.h"

namespace puyu {

bool Stages::safe(Document& d) {
  if (!judges_.safety.is_on()) return true;
  Stage& s = funnel.stage("safe");
  auto bytes = static_cast<int64_t>(d.content.size());
  s.in.add(bytes);
  if (Verdict v = judges_.safety.judge(d); !v.rule.empty()) return drop(s, d, v.rule, v.value, v.limit, bytes);
  for (const auto& [kind, count] : judges_.safety.mask(d)) change(s, d, "pii_" + kind, count);
  s.kept.add(static_cast<int64_t>(d.content.size()));
  return true;
}

bool Stages::quality(Document& d) {
  if (!judges_.quality.is_on()) return true;
  Stage& s = funnel.stage("quality");
  auto bytes = static_cast<int64_t>(d.content.size());
  s.in.add(bytes);
  if (Verdict v = judges_.quality.judge(d); !v.rule.empty()) return drop(s, d, v.rule, v.value, v.limit, bytes);
  s.kept.add(bytes);
  return true;
}

bool Stages::decontaminate(Document& d) {
  if (!judges_.benchmarks) return true;
  Stage& s = funnel.stage("decontaminate");
  auto bytes = static_cast<int64_t>(d.content.size()), most = config_.decontaminate.min_windows;
  s.in.add(bytes);
  BenchmarkWindows::Hit hit = judges_.benchmarks->find(d.content);
  if (hit.windows >= most) {
    std::string rule = cat("in.", hit.benchmark);
    if (config_.decontaminate.action == "drop")
      return drop(s, d, rule, static_cast<double>(hit.windows), static_cast<double>(most), bytes);
    change(s, d, rule, hit.windows);
  }
  s.kept.add(bytes);
  return true;
}

}  // namespace puyu
