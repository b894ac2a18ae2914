#include "train/step_totals.h"

#include "base/error.h"

namespace puyu {

void StepTotals::add(const LmSums& s) { sums.logp += s.logp, sums.tokens += s.tokens, sums.correct += s.correct; }

void StepTotals::add(const MicroBatch& m, const TokenResults& each) {
  const std::vector<int32_t>& cu = m.batch.cu;
  CHECK(m.source.size() + 1 == cu.size() && each.logp.size() == m.target.size());
  for (size_t i = 0; i + 1 < cu.size(); ++i) {
    const double n = cu[i + 1] - cu[i];
    squared_lengths += n * n;
    SourceSums& s = sources.at(m.source[i]);
    for (auto t = static_cast<size_t>(cu[i]); t < static_cast<size_t>(cu[i + 1]); ++t)
      if (m.target[t] >= 0) s.logp += static_cast<double>(each.logp[t]), ++s.tokens, s.correct += each.correct[t];
  }
}

void StepTotals::tell(StepMetrics& m, const std::vector<Loader::Info>& info) const {
  m.loss = -mean(sums.logp), m.accuracy = mean(static_cast<double>(sums.correct)), m.tokens = sums.tokens;
  for (size_t i = 0; i < sources.size(); ++i) {
    const SourceSums& s = sources[i];
    const auto n = static_cast<double>(s.tokens);
    m.sources.push_back({info[i].name, -s.logp / n, static_cast<double>(s.correct) / n, s.tokens, info[i].epochs});
  }
}

void StepTotals::add_ranks(Comm& comm) {
  std::vector<double> v{sums.logp, static_cast<double>(sums.tokens), static_cast<double>(sums.correct),
                        squared_lengths};
  for (const SourceSums& s : sources)
    v.insert(v.end(), {s.logp, static_cast<double>(s.tokens), static_cast<double>(s.correct)});
  sum_over_ranks(comm, v);
  sums.logp = v[0], sums.tokens = static_cast<int64_t>(v[1]), sums.correct = static_cast<int64_t>(v[2]);
  squared_lengths = v[3];
  for (size_t i = 0; i < sources.size(); ++i) {
    const double* p = v.data() + 4 + 3 * i;
    sources[i] = {p[0], static_cast<int64_t>(p[1]), static_cast<int64_t>(p[2])};
  }
}

}  // namespace puyu
