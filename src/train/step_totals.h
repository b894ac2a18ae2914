// What the micro-batches of a step or of a validation add up to, over all ranks, in all and by data source.
#pragma once
#include "train/loader.h"
#include "train/run_log.h"

namespace puyu {

struct SourceSums {
  double logp = 0;
  int64_t tokens = 0, correct = 0;  // counted tokens; those that were the most likely
};

struct StepTotals {
  LmSums sums;
  double squared_lengths = 0;       // of the sequences: attention's share of the FLOPs
  std::vector<SourceSums> sources;  // in the order of the data sources; empty when not asked for

  void add(const LmSums& s);
  void add(const MicroBatch& m, const TokenResults& each);
  void add_ranks(Comm& comm);  // afterwards every rank knows the totals of all
  // loss, accuracy, tokens and sources; info: of the loader, after the step.
  void tell(StepMetrics& m, const std::vector<Loader::Info>& info) const;
  double mean(double v) const { return v / static_cast<double>(sums.tokens); }
};

}  // namespace puyu
