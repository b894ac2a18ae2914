// What the stages after the rules need: lists and models, loaded once for a run and shared by its processes.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "data/decontaminate.h"
#include "data/funnel.h"
#include "data/quality.h"
#include "data/safety.h"

namespace puyu {

struct PipelineConfig;

struct Judges {
  explicit Judges(const PipelineConfig& config);
  // Of all lists and models: other contents make a run's units anew.
  std::string key() const;
  void name_stages(Funnel& funnel) const;  // those that are on, in their order
  Safety safety;
  Quality quality;
  std::optional<BenchmarkWindows> benchmarks;
};

}  // namespace puyu
