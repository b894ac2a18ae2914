// One step on a mesh of ranks against the same step on one: how far gradients, losses and norms are apart.
#pragma once
#include "comm/mpirun_test_util.h"
#include "train/step_test_util.h"

namespace puyu::test {

// How far a step on several ranks is from the step of one.
struct Apart {
  double loss = 0, gradient = 0, norm = 0;  // of the loss; of the norm, the worst element; of the norm
  void add(const Apart& a) {
    loss = std::max(loss, a.loss), gradient = std::max(gradient, a.gradient), norm = std::max(norm, a.norm);
  }
};
inline double relative(double got, double want) { return std::abs(got - want) / std::abs(want); }

inline void mask(std::vector<MicroBatch>& micros, int64_t tokens, int64_t& counted) {
  int64_t at = 0;
  for (MicroBatch& m : micros)
    for (int32_t& t : m.target)
      if (at++ < tokens && t >= 0) t = -1, --counted;
}

// Of each micro-batch what the first of `ranks` ranks that share its sequences has does not count: in isp the first
// part, in a ring the first and the last chunk (and what a batch is filled with lies at the end).
inline void mask_ends(StepShare& share, int64_t ranks) {
  for (MicroBatch& m : share.micros) {
    const int64_t n = m.batch.tokens(), first = n / ranks + 2 * ranks, last = n - n / (2 * ranks) - 2 * ranks;
    for (int64_t t = 0; t < n; ++t)
      if (int32_t& target = m.target[static_cast<size_t>(t)]; target >= 0 && (t < first || t >= last))
        target = -1, --share.counted;
  }
}

class MeshChild : public FolderTest {
 protected:
  // mask_first: what the first data rank has does not count, so that its tensor ranks have nothing to learn from; of
  // one data rank, what its first rank has.
  Apart check(const Case& k, const std::shared_ptr<const Ranks>& ranks, int level, const std::string& data,
              bool mask_first) {
    Comm &world = ranks->world(), &group = ranks->data();
    const auto alone = self_comm();
    Learner one = make_learner(k, *alone, 0), many = make_learner(k, ranks, level);
    auto loader = [&] { return Loader({{"s", data, 1, -1}}, 1, std::max<int64_t>(64, k.seq_len)); };
    Loader a = loader(), b = loader(), c = loader();
    Apart worst;
    for (int step = 0; step < 2; ++step) {
      StepShare all = a.next_share(k.batch_tokens, k.seq_len, k.micro_tokens, 0, 1);
      StepShare share = b.next_share(k.batch_tokens, k.seq_len, k.micro_tokens, group.rank(), group.size());
      const StepShare first = c.next_share(k.batch_tokens, k.seq_len, k.micro_tokens, 0, group.size());
      if (mask_first && group.size() > 1) {
        int64_t tokens = 0, none = 0;
        for (const MicroBatch& m : first.micros) tokens += m.batch.tokens();
        mask(all.micros, tokens, all.counted);
        if (group.rank() == 0) mask(share.micros, tokens, none);
        share.counted = all.counted;
      } else if (mask_first) {
        mask_ends(all, ranks->sequence().size()), mask_ends(share, ranks->sequence().size());
      }
      const double want_score = score(one, all, *alone), got_score = score(many, share, world);
      const LmSums want = accumulate(one, all), mine = accumulate(many, share);
      double got[] = {mine.logp, static_cast<double>(mine.tokens), static_cast<double>(mine.correct)};
      sum_over_ranks(world, got);
      EXPECT_EQ(got[1], want.tokens);
      if (k.dtype == DType::kF32) { EXPECT_EQ(got[2], want.correct); }
      const double norm = std::sqrt(many.state().squared_norms().all),
                   want_norm = std::sqrt(one.state().squared_norms().all);
      EXPECT_EQ(std::sqrt(many.state().squared_norms().all), norm) << "asked twice";
      const std::vector<float> g = owned(many, Zero::Set::kGradient),
                               w = same_elements(one, many, Zero::Set::kGradient);
      EXPECT_EQ(g.size(), w.size());
      double elements[] = {static_cast<double>(g.size())};
      sum_over_ranks(world, elements);
      EXPECT_EQ(elements[0], one.weights().config.num_params()) << "each parameter on one rank";
      Apart apart{std::max(relative(got[0], want.logp), relative(got_score, want_score)), 0, relative(norm, want_norm)};
      for (size_t i = 0; i < g.size(); ++i)
        apart.gradient = std::max(apart.gradient, std::abs(g[i] - w[i]) / want_norm);
      worst.add(apart);
      one.state().zero_gradients(), many.state().zero_gradients();
    }
    return worst;
  }
};

}  // namespace puyu::test
