// One step of a tiny model on several ranks, for tests that compare it with the same step on one.
#pragma once
#include <cmath>
#include <map>

#include "train/train_test_util.h"

namespace puyu::test {

struct Case {
  DType dtype = DType::kF32;
  bool tied = false;
  Recompute recompute = Recompute::kNone;
  int64_t batch_tokens = 150, micro_tokens = 200;
  bool biases = false;
  int64_t layers = 2;
  int64_t seq_len = 24;
};

inline Learner make_learner(const Case& k, std::shared_ptr<const Ranks> ranks, int level) {
  ModelConfig c = tiny_model();
  c.num_heads = 8, c.num_kv_heads = 4, c.tie_embeddings = k.tied, c.qkv_bias = c.wo_bias = k.biases,
  c.num_layers = k.layers;
  Zero state(c, Head::kLanguage, k.dtype, std::move(ranks), level);
  state.fill([](const FlatTensor& t, size_t index, Tensor whole) {
    Rng rng(9, index);
    for (int64_t i = 0; i < whole.numel(); ++i)
      whole.as<float>()[i] = static_cast<float>(0.2 * rng.normal() + (t.spec.cols == 0));
  });
  return {std::move(state), {}, k.recompute};
}
inline Learner make_learner(const Case& k, Comm& data_ranks, int level) {
  return make_learner(k, std::make_shared<Ranks>(data_ranks), level);
}

inline LmSums accumulate(Learner& l, const StepShare& share) {
  LmSums sums;
  for (int64_t round = 0; round < share.rounds; ++round) {
    l.begin_round(round + 1 == share.rounds);
    if (round >= static_cast<int64_t>(share.micros.size())) {
      l.idle_round(true);
      continue;
    }
    const MicroBatch& m = share.micros[static_cast<size_t>(round)];
    const std::vector<float> coef(m.target.size(), static_cast<float>(-1.0 / static_cast<double>(share.counted)));
    const LmSums s = l.accumulate_lm(m.batch, m.target, coef);
    sums.logp += s.logp, sums.tokens += s.tokens, sums.correct += s.correct;
  }
  return sums;
}

inline double score(Learner& l, const StepShare& share, Comm& comm) {
  double sum = 0;
  std::vector<float> logp;
  for (int64_t round = 0; round < share.rounds; ++round) {
    if (round >= static_cast<int64_t>(share.micros.size())) {
      l.idle_round(false);
      continue;
    }
    const MicroBatch& m = share.micros[static_cast<size_t>(round)];
    logp.resize(m.target.size());
    sum += l.logprobs(m.batch, m.target, logp).logp;
  }
  sum_over_ranks(comm, {&sum, 1});
  return sum;
}

// What this rank owns of a set, one after the other: the same elements at every level.
inline std::vector<float> owned(Learner& l, Zero::Set set) {
  std::vector<float> out;
  l.state().each_slice(set, true, [&](const Zero::Slice& s) {
    out.insert(out.end(), s.data.as<float>(), s.data.as<float>() + s.data.numel());
  });
  return out;
}

// The same elements of a learner that holds everything.
inline std::vector<float> same_elements(Learner& whole, Learner& mine, Zero::Set set) {
  std::map<std::string, Tensor> tensors;
  whole.state().each_slice(set, false, [&](const Zero::Slice& s) { tensors[s.tensor.name] = s.data; });
  std::vector<float> out;
  mine.state().each_slice(set, true, [&](const Zero::Slice& s) {
    const float* p = tensors.at(s.tensor.name).as<float>() + s.begin;
    out.insert(out.end(), p, p + s.data.numel());
  });
  return out;
}

}  // namespace puyu::test
