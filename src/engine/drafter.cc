#include "engine/drafter.h"

#include <algorithm>

#include "engine/engine.h"

namespace puyu {
namespace {

using Sequences = std::vector<std::span<const int32_t>>;

std::vector<int32_t> what_followed(std::span<const int32_t> tokens, size_t n) {
  for (size_t length = 4; length >= 2; --length) {
    if (tokens.size() <= length) continue;
    const auto tail = tokens.last(length), before = tokens.first(tokens.size() - 1);
    const auto at = std::find_end(before.begin(), before.end(), tail.begin(), tail.end());
    if (at == before.end()) continue;
    const auto rest = tokens.subspan(static_cast<size_t>(at - before.begin()) + length);
    const auto next = rest.first(std::min(n, rest.size()));
    return {next.begin(), next.end()};
  }
  return {};
}

class NgramDrafter : public Drafter {
 public:
  std::vector<std::vector<int32_t>> propose(const Sequences& sequences, int n) override {
    std::vector<std::vector<int32_t>> out;
    for (const auto& s : sequences) out.push_back(what_followed(s, static_cast<size_t>(n)));
    return out;
  }
};

class ModelDrafter : public Drafter {
 public:
  ModelDrafter(Weights weights, const EngineOptions& o) : weights_(std::move(weights)), engine_(weights_, o) {}
  std::vector<std::vector<int32_t>> propose(const Sequences& sequences, int n) override {
    std::vector<std::vector<int32_t>> prompts, out(sequences.size());
    std::vector<size_t> from;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (static_cast<int64_t>(sequences[i].size()) + n > engine_.context_length()) continue;
      prompts.emplace_back(sequences[i].begin(), sequences[i].end());
      from.push_back(i);
    }
    SamplingOptions greedy;
    greedy.temperature = 0, greedy.max_tokens = n;
    const std::vector<Rollout> guesses = engine_.generate_tokens(prompts, greedy, {});
    for (size_t i = 0; i < from.size(); ++i) out[from[i]] = guesses[i].tokens;
    return out;
  }

 private:
  Weights weights_;
  Engine engine_;
};

}  // namespace

std::unique_ptr<Drafter> make_ngram_drafter() { return std::make_unique<NgramDrafter>(); }
std::unique_ptr<Drafter> make_model_drafter(Weights weights, const std::string& device) {
  EngineOptions o;
  o.device = device;
  return std::make_unique<ModelDrafter>(std::move(weights), o);
}

}  // namespace puyu
