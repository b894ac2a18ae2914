#include "align/text_mix.h"

#include "base/error.h"

namespace puyu {

TextMix::TextMix(const TextMixOptions& options, const Tokenizer& tokenizer, uint64_t seed) : options_(options) {
  if (options_.shards.empty()) return;
  if (options_.seq_len < 1 || options_.tokens < options_.seq_len)
    fail("[align] text: expected 1 <= seq_len <= tokens, got seq_len ", options_.seq_len, " and tokens ",
         options_.tokens);
  std::vector<DataSource> sources;
  for (const std::string& shard : options_.shards) sources.push_back({"", shard, 1, -1});
  loader_.emplace_back(sources, seed, options_.seq_len);
  if (loader_[0].tokenizer_fingerprint() != tokenizer.fingerprint())
    fail("[align] text: ", options_.shards[0], " was made by another tokenizer than the model's; encode it again with ",
         "`puyu data tokenize`");
}

double TextMix::accumulate(Learner& learner) {
  if (loader_.empty() || options_.coef == 0) return 0;
  const std::vector<MicroBatch> step = loader_[0].next(options_.tokens, options_.seq_len, options_.tokens);
  int64_t counted = 0;
  for (const MicroBatch& m : step) counted += m.counted;
  double logp = 0;
  for (const MicroBatch& m : step) {
    const std::vector<float> coef(m.target.size(), static_cast<float>(-options_.coef / static_cast<double>(counted)));
    logp += learner.accumulate_lm(m.batch, m.target, coef).logp;
  }
  return counted ? -logp / static_cast<double>(counted) : 0;
}

}  // namespace puyu
