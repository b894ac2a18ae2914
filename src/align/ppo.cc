#include "align/ppo.h"

#include <algorithm>
#include <numeric>

#include "align/loop.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

// Rewards of each answer token, the normalised score at its last, then advantages and returns.
void judge(Experience& e, PpoModels& m, const std::vector<float>& score, const PpoOptions& o, PpoPoint& p) {
  const size_t T = e.target.size();
  std::vector<float> ref(T), value(T), now(T), entropy(T), reward(T, 0);
  m.reference.logprobs(e.batch, e.target, ref);
  const LmSums actor = m.actor.logprobs(e.batch, e.target, now, entropy);
  m.critic.values(e.batch, value);
  const auto tokens = static_cast<double>(actor.tokens);
  p.entropy = actor.entropy / tokens;
  for (size_t i = 0; i + 1 < e.batch.cu.size(); ++i) {
    size_t begin = static_cast<size_t>(e.batch.cu[i]);
    const auto end = static_cast<size_t>(e.batch.cu[i + 1] - 1);  // the last token predicts nothing
    while (begin < end && e.target[begin] < 0) ++begin;
    if (begin == end) continue;
    for (size_t t = begin; t < end; ++t) {
      const double kl = static_cast<double>(e.old_logp[t] - ref[t]);
      reward[t] = static_cast<float>(-o.kl_coef * kl);
      p.kl += kl / tokens;
    }
    reward[end - 1] += score[i];
    const size_t n = end - begin;
    compute_gae({reward.data() + begin, n}, {value.data() + begin, n}, o.gamma, o.lambda,
                {e.advantage.data() + begin, n}, {e.returns.data() + begin, n});
  }
}

// The SFT loss on top of the actor's gradients; returns its mean.
double accumulate_sft(Learner& actor, ChatStream& stream, const PpoOptions& o) {
  ChatBatch b;
  stream.next(o.pretrain_tokens, b);
  if (b.counted == 0) return 0;
  const std::vector<float> coef(b.target.size(), static_cast<float>(-o.pretrain_coef / static_cast<double>(b.counted)));
  return -actor.accumulate_lm(b.batch, b.target, coef).logp / static_cast<double>(b.counted);
}

}  // namespace

PpoReport run_ppo(PpoModels m, const Tokenizer& tokenizer, const PpoData& data, const RolloutFn& rollout,
                  const PpoOptions& o, const std::function<void(const PpoPoint&)>& after_step) {
  if (o.pretrain_coef > 0 && data.sft.size() == 0)
    fail("[align] PPO: expected SFT data for pretrain_coef ", o.pretrain_coef, ", got none; give data or set it to 0");
  const Stopwatch clock;
  Rng rng(static_cast<uint64_t>(o.seed));
  ChatStream stream(data.sft, static_cast<uint64_t>(o.seed));
  const SampleOptions sampled{o.prompts, o.samples, o.max_answer_tokens, o.share_100};
  const CosineSchedule schedule{1, o.final_lr, o.warmup_steps};
  RunningStats stats;
  PpoReport r;
  Progress bar("rlhf", o.steps, "steps");
  for (; r.steps < o.steps && !(r.interrupted = interrupted()); ++r.steps) {
    PpoPoint p{r.steps + 1};
    const Stopwatch sampling;
    const Answered a = sample_answers(m.actor.weights(), tokenizer, rollout, sampled, rng);
    if ((r.interrupted = interrupted())) break;
    p.rollout_seconds = sampling.seconds();
    p.accuracy = a.accuracy;
    p.answer_tokens = a.answer_tokens;
    p.trained = static_cast<int64_t>(a.size());
    if (a.size() == 0) continue;  // every question was answered the same each time
    const std::vector<float> score = score_answers(m.reward, tokenizer, a, o.reward_clip, o.batch_tokens);
    p.score = std::accumulate(score.begin(), score.end(), 0.0) / static_cast<double>(score.size());
    p.ranked = share_ranked(a, score, o.samples > 1);
    Experience e = pack_experience(a);
    judge(e, m, normalise_scores(score, a, o.samples > 1, stats), o, p);
    const double progress = static_cast<double>(r.steps) / static_cast<double>(o.steps);
    const double lr = schedule.at(r.steps, progress);
    if (o.fast_path.lr > 0)
      p.reward_right =
          teach_reward(m.reward, m.reference.weights().output(), tokenizer, a, data.replay, o.fast_path, lr, rng);
    p.critic_loss = accumulate_critic(m.critic, e);
    r.skipped_steps += m.critic.apply(lr * o.critic_lr).skipped;
    if (r.steps >= o.critic_warmup_steps) {
      if (o.policy_coef > 0) p.clipped = accumulate_ppo(m.actor, e, o.clip_ratio, o.policy_coef);
      if (o.pretrain_coef > 0) p.sft_loss = accumulate_sft(m.actor, stream, o);
      const StepResult step = m.actor.apply(o.actor_lr * schedule.at(r.steps - o.critic_warmup_steps, progress));
      p.actor_grad_norm = step.grad_norm;
      r.skipped_steps += step.skipped;
    }
    p.seconds = clock.seconds();
    r.curve.push_back(p);
    bar.add(1);
    bar.note(cat("score ", p.score, ", right ", p.accuracy, ", kl ", p.kl));
    if (after_step) after_step(p);
  }
  r.seconds = clock.seconds();
  return r;
}

}  // namespace puyu
