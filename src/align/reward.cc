#include "align/reward.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "align/loop.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

constexpr double kLimit = 5, kMargin = 1e-3;  // the barrier is evaluated inside its domain

// Pairs in a new order each epoch, as many as fit into a batch.
class PairStream {
 public:
  PairStream(const EncodedPairs& data, uint64_t seed) : data_(data), seed_(seed) {}
  void next(int64_t max_tokens, PairBatch& b) {
    b.clear();
    if (at_ == order_.size()) {
      order_.resize(data_.size());
      std::iota(order_.begin(), order_.end(), size_t{0});
      Rng(seed_, epoch_++).shuffle(order_.begin(), order_.end());
      at_ = 0;
    }
    for (; at_ < order_.size(); ++at_) {
      if (b.batch.tokens() > 0 && b.batch.tokens() + data_.tokens(order_[at_]) > max_tokens) break;
      append_pair(b, data_, order_[at_]);
    }
  }

 private:
  const EncodedPairs& data_;
  uint64_t seed_, epoch_ = 0;
  std::vector<size_t> order_;
  size_t at_ = 0;
};

// Adds weight * (loss of the pair of values c, r) to the point's loss and to the coefficients.
void add_pair(size_t c, size_t r, double weight, const PairLossOptions& o, std::span<const float> value,
              std::span<float> coef, RewardPoint& p) {
  const PairLoss l =
      reward_pair_loss(static_cast<double>(value[c]), static_cast<double>(value[r]), o.focal_gamma, o.penalty);
  coef[c] += static_cast<float>(weight * l.d_chosen);
  coef[r] += static_cast<float>(weight * l.d_rejected);
  p.loss += weight * l.loss;
}

// Coefficients of the batch's values for the mean loss over its pairs; fills loss and accuracy.
void pair_coefficients(const Batch& b, const PairLossOptions& o, std::span<const float> value, std::span<float> coef,
                       RewardPoint& p) {
  const size_t pairs = (b.cu.size() - 1) / 2;
  const auto n = static_cast<double>(pairs);
  std::fill(coef.begin(), coef.end(), 0.0f);
  for (size_t i = 0; i < pairs; ++i) {
    const auto begin_c = static_cast<size_t>(b.cu[2 * i]), begin_r = static_cast<size_t>(b.cu[2 * i + 1]);
    const auto end_r = static_cast<size_t>(b.cu[2 * i + 2]);
    const size_t most = std::min(begin_r - begin_c, end_r - begin_r) - 1;  // the last token is scored on its own
    const auto [c, r] = std::mismatch(b.ids.begin() + static_cast<int64_t>(begin_c),
                                      b.ids.begin() + static_cast<int64_t>(begin_c + most),
                                      b.ids.begin() + static_cast<int64_t>(begin_r));
    const auto same = static_cast<size_t>(c - b.ids.begin()) - begin_c;
    const double dense = same < most ? o.token_weight : 0;
    for (size_t t = same; dense > 0 && t < most; ++t)
      add_pair(begin_c + t, begin_r + t, dense / n / static_cast<double>(most - same), o, value, coef, p);
    add_pair(begin_r - 1, end_r - 1, (1 - dense) / n, o, value, coef, p);
    p.accuracy += (value[begin_r - 1] > value[end_r - 1]) / n;
  }
}

void measure(Learner& reward, const EncodedPairs& held_out, int64_t batch_tokens, RewardReport& r) {
  const std::vector<float> s = score_sequences(reward, held_out.sequences, batch_tokens);
  const auto n = static_cast<double>(held_out.size());
  r.held_out_pairs = static_cast<int64_t>(held_out.size());
  for (size_t i = 0; i < held_out.size(); ++i) {
    r.accuracy += (s[2 * i] > s[2 * i + 1]) / n;
    r.mean_chosen += static_cast<double>(s[2 * i]) / n;
    r.mean_rejected += static_cast<double>(s[2 * i + 1]) / n;
  }
}

}  // namespace

PairLoss reward_pair_loss(double chosen, double rejected, double gamma, double penalty) {
  const double d = chosen - rejected;
  const double log_p = d > 0 ? -std::log1p(std::exp(-d)) : d - std::log1p(std::exp(d));
  const double p = std::exp(log_p), easy = 1 - 2 * std::max(0.0, p - 0.5);
  const double focal = std::pow(easy, gamma);
  // dp/dd = p (1 - p); d log p / dd = 1 - p; the focal factor moves only where p > 1/2
  const double d_focal = p > 0.5 && gamma > 0 ? -2 * gamma * std::pow(easy, gamma - 1) * p * (1 - p) : 0;
  PairLoss l{-focal * log_p, 0, 0};
  l.d_chosen = -(d_focal * log_p + focal * (1 - p));
  l.d_rejected = -l.d_chosen;
  auto barrier = [&](double r, double& grad) {
    const double x = std::clamp(r, -kLimit + kMargin, kLimit - kMargin);
    l.loss -= 0.5 * penalty * (std::log(kLimit + x) + std::log(kLimit - x));
    grad -= 0.5 * penalty * (1 / (kLimit + x) - 1 / (kLimit - x));
  };
  barrier(chosen, l.d_chosen);
  barrier(rejected, l.d_rejected);
  return l;
}

std::vector<int32_t> encode_scored(const Tokenizer& t, const Dialogue& prompt, const std::string& answer) {
  Dialogue d = prompt;
  d.push_back({"assistant", answer, ""});
  std::vector<int32_t> ids = encode_chat(t, d, false);
  ids.push_back(t.special("<|reward|>"));
  return ids;
}

EncodedPairs encode_pairs(const Tokenizer& t, const std::vector<PreferencePair>& pairs) {
  EncodedPairs out;
  for (const PreferencePair& p : pairs) {
    out.prompt.push_back(encode_chat(t, p.prompt, true).size());
    out.sequences.push_back(encode_scored(t, p.prompt, p.chosen));
    out.sequences.push_back(encode_scored(t, p.prompt, p.rejected));
  }
  return out;
}

std::vector<float> score_sequences(Learner& reward, const std::vector<std::vector<int32_t>>& sequences,
                                   int64_t batch_tokens) {
  std::vector<float> out, value;
  Batch b;
  for (size_t i = 0; i < sequences.size();) {
    b.clear();
    for (; i < sequences.size(); ++i) {
      const auto n = static_cast<int64_t>(sequences[i].size());
      if (b.tokens() > 0 && b.tokens() + n > batch_tokens) break;
      b.add(sequences[i].data(), n);
    }
    value.resize(b.ids.size());
    reward.values(b, value);
    for (size_t s = 1; s < b.cu.size(); ++s) out.push_back(value[static_cast<size_t>(b.cu[s] - 1)]);
  }
  return out;
}

void append_pair(PairBatch& to, const EncodedPairs& data, size_t i) {
  const std::vector<int32_t>&chosen = data.sequences[2 * i], &rejected = data.sequences[2 * i + 1];
  to.batch.add(chosen.data(), static_cast<int64_t>(chosen.size()));
  to.batch.add(rejected.data(), static_cast<int64_t>(rejected.size()));
  to.target.resize(to.target.size() + data.prompt[i] - 1, -1);
  to.target.insert(to.target.end(), chosen.begin() + static_cast<int64_t>(data.prompt[i]), chosen.end() - 1);
  to.target.resize(to.batch.ids.size(), -1);
}

RewardPoint accumulate_pairs(Learner& reward, Tensor language_head, const PairBatch& b, const PairLossOptions& o) {
  RewardPoint p;
  const auto counted = std::count_if(b.target.begin(), b.target.end(), [](int32_t id) { return id >= 0; });
  const std::vector<float> coef(b.target.size(), static_cast<float>(-o.lm_coef / static_cast<double>(counted)));
  const SideLoss side{language_head, b.target, coef};
  reward.accumulate_values(
      b.batch, [&](std::span<const float> v, std::span<float> c) { pair_coefficients(b.batch, o, v, c, p); },
      o.lm_coef > 0 ? &side : nullptr);
  return p;
}

RewardReport run_reward(Learner& reward, Tensor language_head, const EncodedPairs& train, const EncodedPairs& held_out,
                        const RewardOptions& o, const std::function<void(const RewardPoint&)>& after_step) {
  if (train.size() == 0) fail("[align] reward model: expected at least one preference pair, got none");
  const Stopwatch clock;
  const CosineSchedule schedule{o.lr, o.final_lr, o.warmup_steps};
  PairStream stream(train, static_cast<uint64_t>(o.seed));
  PairBatch b;
  RewardReport r;
  Progress bar("reward", o.steps, "steps");
  for (; r.steps < o.steps && !(r.interrupted = interrupted()); ++r.steps) {
    stream.next(o.batch_tokens, b);
    RewardPoint p = accumulate_pairs(reward, language_head, b, o.loss);
    p.step = r.steps + 1;
    const StepResult step =
        reward.apply(schedule.at(r.steps, static_cast<double>(r.steps) / static_cast<double>(o.steps)));
    r.skipped_steps += step.skipped;
    p.seconds = clock.seconds(), p.grad_norm = step.grad_norm;
    r.curve.push_back(p);
    bar.add(1);
    bar.note(cat("loss ", p.loss, ", right ", p.accuracy));
    if (after_step) after_step(p);
  }
  r.seconds = clock.seconds();
  r.final_loss = r.curve.empty() ? 0 : r.curve.back().loss;
  measure(reward, held_out, o.batch_tokens, r);
  return r;
}

}  // namespace puyu
