// Gradients of the value head against finite differences of the values, and what apply() does with a gradient.
#include "train/learner.h"

#include <cmath>

#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

Weights random_weights(Head head, uint64_t seed = 5) {
  Weights w = make_weights(tiny_model(), head, DType::kF32);
  Rng rng(seed);
  w.master.tensors.each(w.config, head, [&](const std::string&, Tensor& t, Spec, int64_t) {
    for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = static_cast<float>(rng.normal() * 0.2 + (t.rank == 1));
  });
  return w;
}
std::vector<Tensor> list(Weights& w, Model<Tensor>& m) {
  std::vector<Tensor> out;
  m.each(w.config, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { out.push_back(t); });
  return out;
}
Batch batch() {
  Batch b;
  const int32_t ids[] = {3, 1, 4, 1, 5, 9, 2, 6};
  b.add(ids, 5);
  b.add(ids + 5, 3);
  return b;
}

TEST(Learner, ValueGradientIsTheFiniteDifferenceOfTheValues) {
  Learner l(random_weights(Head::kValue), {}, Recompute::kNone);
  const Batch b = batch();
  std::vector<float> v(8), seen;
  l.accumulate_values(b, [&](std::span<const float> value, std::span<float> coef) {
    seen.assign(value.begin(), value.end());
    for (size_t i = 0; i < 8; ++i) coef[i] = 0.5f * static_cast<float>(i) - 1 + value[i];  // of sum (c v + v^2 / 2)
  });
  auto loss = [&] {
    l.values(b, v);
    double s = 0;
    for (size_t i = 0; i < 8; ++i) s += (0.5 * static_cast<double>(i) - 1) * v[i] + 0.5 * double(v[i]) * v[i];
    return s;
  };
  loss();
  EXPECT_EQ(v, seen);
  // Along the gradient the loss must grow by |g|^2 per unit; so too along a random direction d by g.d.
  Rng rng(1);
  auto weights = list(l.weights(), l.weights().master.tensors), grads = list(l.weights(), l.gradients());
  for (size_t k = 0; k < weights.size(); ++k) {
    float *w = weights[k].as<float>(), *g = grads[k].as<float>();
    const int64_t n = weights[k].numel();
    std::vector<float> old(w, w + n), d(static_cast<size_t>(n));
    double slope = 0, norm = 0;
    for (int64_t i = 0; i < n; ++i) norm += double(g[i]) * g[i];
    norm = std::sqrt(norm);
    for (int64_t i = 0; i < n; ++i) {
      d[i] = static_cast<float>(g[i] / norm + 0.3 * rng.normal() / std::sqrt(double(n)));
      slope += double(g[i]) * d[i];
    }
    const float h = 2e-3f;
    for (int64_t i = 0; i < n; ++i) w[i] = old[i] + h * d[i];
    const double up = loss();
    for (int64_t i = 0; i < n; ++i) w[i] = old[i] - h * d[i];
    const double down = loss();
    std::copy(old.begin(), old.end(), w);
    EXPECT_NEAR((up - down) / (2 * h), slope, 0.01 * std::abs(slope) + 1e-3) << "tensor " << k;
  }
}

TEST(Learner, SideLossAddsALanguageLossThatLeavesItsHeadAlone) {
  const Batch b = batch();
  const std::vector<int32_t> target = {1, 4, -1, 5, -1, 2, 6, -1};
  std::vector<float> coef(8);
  for (size_t i = 0; i < 8; ++i) coef[i] = 0.1f * static_cast<float>(i) - 0.3f;
  auto value_coef = [](std::span<const float>, std::span<float> c) {
    for (size_t i = 0; i < c.size(); ++i) c[i] = 0.7f - 0.2f * static_cast<float>(i);
  };
  // The body of both models is the same, so that the gradients of the two losses add up.
  Learner both(random_weights(Head::kValue), {}, Recompute::kNone),
      value(random_weights(Head::kValue), {}, Recompute::kNone);
  Learner language(random_weights(Head::kLanguage), {}, Recompute::kNone);
  const SideLoss side{language.weights().output(), target, coef};
  both.accumulate_values(b, value_coef, &side);
  value.accumulate_values(b, value_coef);
  language.accumulate_lm(b, target, coef);
  auto w_language = list(language.weights(), language.weights().master.tensors);
  auto w_value = list(value.weights(), value.weights().master.tensors);
  auto g_both = list(both.weights(), both.gradients()), g_value = list(value.weights(), value.gradients());
  auto g_language = list(language.weights(), language.gradients());
  size_t compared = 0;
  double largest = 0;
  for (size_t k = 0; k + 1 < g_both.size(); ++k) {  // the heads come last
    ASSERT_EQ(w_value[k].numel(), w_language[k].numel());
    for (int64_t i = 0; i < g_both[k].numel(); ++i, ++compared) {
      ASSERT_EQ(w_value[k].as<float>()[i], w_language[k].as<float>()[i]);
      const float sum = g_value[k].as<float>()[i] + g_language[k].as<float>()[i];
      ASSERT_NEAR(g_both[k].as<float>()[i], sum, 1e-5 * (1 + std::abs(sum))) << k;
      largest = std::max(largest, double(std::abs(g_language[k].as<float>()[i])));
    }
  }
  EXPECT_GT(compared, 1000u);
  EXPECT_GT(largest, 1e-3);
  for (int64_t i = 0; i < g_both.back().numel(); ++i)
    ASSERT_EQ(g_both.back().as<float>()[i], g_value.back().as<float>()[i]);
}

TEST(Learner, ApplyClipsByTheGlobalNormAndZeroes) {
  OptimizerOptions o;
  o.clip_grad_norm = 0.5, o.weight_decay = 0;
  Learner l(random_weights(Head::kLanguage), o, Recompute::kNone);
  auto grads = list(l.weights(), l.gradients());
  std::vector<Tensor> m;
  l.state().each_slice(Zero::Set::kMoment1, false, [&](const Zero::Slice& s) { m.push_back(s.data); });
  Rng rng(2);
  double ss = 0;
  for (Tensor t : grads)
    for (int64_t i = 0; i < t.numel(); ++i) {
      t.as<float>()[i] = static_cast<float>(rng.normal());
      ss += double(t.as<float>()[i]) * t.as<float>()[i];
    }
  const float g0 = grads[3].as<float>()[1];
  const StepResult r = l.apply(1e-3);
  EXPECT_NEAR(r.grad_norm, std::sqrt(ss), 1e-6 * std::sqrt(ss));
  EXPECT_FALSE(r.skipped);
  EXPECT_NEAR(m[3].as<float>()[1], 0.1 * g0 * 0.5 / std::sqrt(ss), 1e-6);
  double moments = 0;
  for (Tensor t : m)
    for (int64_t i = 0; i < t.numel(); ++i) moments += double(t.as<float>()[i]) * t.as<float>()[i];
  EXPECT_NEAR(std::sqrt(moments), 0.1 * 0.5, 1e-6);  // (1 - beta1) * clip
  for (Tensor t : grads)
    for (int64_t i = 0; i < t.numel(); ++i) ASSERT_EQ(t.as<float>()[i], 0);
}

TEST(Learner, InfiniteGradientChangesNothingButIsSaid) {
  Learner l(random_weights(Head::kLanguage), {}, Recompute::kNone);
  auto weights = list(l.weights(), l.weights().master.tensors), grads = list(l.weights(), l.gradients());
  const std::vector<float> before(weights[1].as<float>(), weights[1].as<float>() + weights[1].numel());
  grads[2].as<float>()[0] = INFINITY;
  EXPECT_TRUE(l.apply(1e-3).skipped);
  EXPECT_EQ(l.step(), 0);
  EXPECT_EQ(before, std::vector<float>(weights[1].as<float>(), weights[1].as<float>() + weights[1].numel()));
  EXPECT_EQ(grads[2].as<float>()[0], 0);
}

}  // namespace
}  // namespace puyu
