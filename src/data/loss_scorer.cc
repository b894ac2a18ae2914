#include "data/loss_scorer.h"

#include "base/error.h"
#include "model/model.h"

namespace puyu {

constexpr int64_t kAddresses = int64_t{64} << 30;  // reserved, not used: pages become real when they are touched

struct LossScorer::State {
  Arena scratch{"score scratch", kAddresses}, activations{"score", kAddresses};
  Ctx ctx{Device::kCpu, &scratch};
  Weights weights;
  Arena tables;
  Tensor rope;
  explicit State(const std::string& dir)
      : weights(load_for_inference(ctx, dir, Head::kLanguage)),
        tables("rope", weights.config.context() * weights.config.hd() * 4 + 4096),
        rope(make_rope_table(tables, weights.config, weights.config.context())) {
    weights.use().each(weights.config, Head::kLanguage, [&](const std::string& name, Tensor& t, Spec, int64_t) {
      if (!t.data) fail("[data] ", dir, ": ", name, " is quantised; scoring wants the model in f32, bf16 or f16");
    });
  }
};

LossScorer::LossScorer(const std::string& model, const std::string& tokenizer)
    : tokenizer_(Tokenizer::load(tokenizer.empty() ? model : tokenizer)), state_(std::make_unique<State>(model)) {
  if (tokenizer_.vocab_size() > state_->weights.config.vocab_size)
    fail("[data] ", model, ": its vocabulary has ", state_->weights.config.vocab_size, " ids, the tokenizer ",
         tokenizer_.vocab_size());
}
LossScorer::~LossScorer() = default;

int64_t LossScorer::context() const { return state_->weights.config.context(); }

std::vector<float> LossScorer::logp(std::span<const int32_t> ids, size_t from) {
  const auto n = static_cast<int64_t>(ids.size()), first = static_cast<int64_t>(from);
  CHECK(1 <= first && first < n && n <= context());
  State& s = *state_;
  ScratchScope scope(s.activations);
  Batch batch;
  batch.add(ids.data(), n - 1);
  Tensor hidden =
      model_forward(s.ctx, s.activations, s.weights, batch.ids.data(), n - 1, batch.sequences(s.rope), nullptr);
  Tensor scored = hidden.rows(first - 1, n - 1), out = s.activations.alloc(DType::kF32, {n - first});
  fused_cross_entropy(s.ctx, {out, {}, {}}, {}, {}, scored, s.weights.output(), ids.data() + first, nullptr);
  return {out.as<float>(), out.as<float>() + (n - first)};
}

}  // namespace puyu
