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

}  // namespace puyu
