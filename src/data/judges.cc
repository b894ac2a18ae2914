#include "data/judges.h"

#include "data/pipeline.h"

namespace puyu {

Judges::Judges(const PipelineConfig& config) : safety(config.safe) {}

void Judges::name_stages(Funnel& funnel) const {
  if (safety.is_on()) funnel.stage("safe");
}

std::string Judges::key() const { return cat(" safe ", hex64(safety.checksum())); }

}  // namespace puyu
