#include "data/judges.h"

#include "data/pipeline.h"

namespace puyu {

Judges::Judges(const PipelineConfig& config) : safety(config.safe), quality(config.quality) {
  const DecontaminateOptions& o = config.decontaminate;
  if (o.action != "drop" && o.action != "report")
    fail("[data] decontaminate.action: expected drop or report, got '", o.action, "'");
  if (o.min_windows < 1) fail("[data] decontaminate.min_windows: expected at least 1, got ", o.min_windows);
  if (!o.benchmarks.empty()) benchmarks.emplace(o.benchmarks);
}

void Judges::name_stages(Funnel& funnel) const {
  if (safety.is_on()) funnel.stage("safe");
  if (quality.is_on()) funnel.stage("quality");
  if (benchmarks) funnel.stage("decontaminate");
}

std::string Judges::key() const {
  uint64_t windows = benchmarks ? benchmarks->checksum() : 0;
  return cat(" safe ", hex64(safety.checksum()), " quality ", hex64(quality.checksum()), " benchmarks ",
             hex64(windows));
}

}  // namespace puyu
