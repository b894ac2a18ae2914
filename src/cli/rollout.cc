#include "cli/rollout.h"

#include "engine/engine.h"

namespace puyu {

RolloutFn engine_rollout() {
  auto engine = std::make_shared<std::unique_ptr<Engine>>();
  return [engine](Weights& actor, const std::vector<std::vector<int32_t>>& prompts, int32_t stop, int64_t max_tokens,
                  uint64_t seed) {
    EngineOptions options;
    options.max_batch = 128;
    if (!*engine)
      *engine = std::make_unique<Engine>(actor, options);
    else
      (*engine)->refresh();
    SamplingOptions s;
    s.temperature = 1, s.top_p = 1;
    s.max_tokens = static_cast<int>(max_tokens);
    s.seed = static_cast<int64_t>(seed >> 1);
    std::vector<SampledAnswer> out;
    for (Rollout& r : (*engine)->generate_tokens(prompts, s, std::span(&stop, 1)))
      out.push_back({std::move(r.tokens), std::move(r.logp)});
    return out;
  };
}

}  // namespace puyu
