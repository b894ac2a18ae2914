#include "align/ppo.h"

#include <cmath>

#include "align/loop.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/signal.h"

namespace puyu {
namespace {

struct Questions {
  std::vector<Arithmetic> arithmetic;
  std::vector<Dialogue> dialogues;
  std::vector<std::vector<int32_t>> prompts;
};

Questions draw_questions(const Tokenizer& t, const PpoOptions& o, Rng& rng) {
  Questions q;
  for (int64_t i = 0; i < o.prompts; ++i) {
    const Arithmetic a = random_arithmetic(rng, rng.uniform() < o.share_100 ? 100 : 1000, false);
    q.arithmetic.push_back(a);
    q.dialogues.push_back(ask(word_arithmetic(a, rng.below(arithmetic_wordings(a.minus).size()))));
    q.prompts.push_back(encode_chat(t, q.dialogues.back(), true));
  }
  return q;
}

std::string answer_text(const Tokenizer& t, const SampledAnswer& a, int32_t stop) {
  std::span<const int32_t> ids = a.tokens;
  if (!ids.empty() && ids.back() == stop) ids = ids.first(ids.size() - 1);
  std::vector<int32_t> known;  // a model's vocabulary may be padded beyond the tokenizer's
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(known), [&](int32_t id) { return id < t.vocab_size(); });
  return t.decode(known);
}

// Scores of the answers, judged for correctness; fills accuracy.
std::vector<float> score_answers(Learner& reward, const Tokenizer& t, const Questions& q,
                                 const std::vector<SampledAnswer>& answers, const PpoOptions& o, PpoPoint& p) {
  const int32_t stop = t.special("<|im_end|>");
  std::vector<std::vector<int32_t>> sequences;
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::string text = answer_text(t, answers[i], stop);
    sequences.push_back(encode_scored(t, {{"system", kJudgeCorrectness, ""}, q.dialogues[i][0]}, text));
    p.accuracy += (read_answer(text) == q.arithmetic[i].result()) / static_cast<double>(answers.size());
    p.answer_tokens += static_cast<double>(answers[i].tokens.size()) / static_cast<double>(answers.size());
  }
  return score_sequences(reward, sequences, o.batch_tokens);
}

// Packs prompts and answers; position t of an answer predicts token t + 1.
Experience pack(const Questions& q, const std::vector<SampledAnswer>& answers) {
  Experience e;
  for (size_t i = 0; i < answers.size(); ++i) {
    std::vector<int32_t> ids = q.prompts[i];
    const size_t prompt = ids.size(), n = answers[i].tokens.size();
    ids.insert(ids.end(), answers[i].tokens.begin(), answers[i].tokens.end());
    e.batch.add(ids.data(), static_cast<int64_t>(ids.size()));
    e.target.resize(e.target.size() + prompt - 1, -1);
    e.target.insert(e.target.end(), answers[i].tokens.begin(), answers[i].tokens.end());
    e.target.push_back(-1);
    e.old_logp.resize(e.target.size(), 0);
    std::copy_n(answers[i].logp.begin(), n, e.old_logp.end() - static_cast<int64_t>(n) - 1);
  }
  e.advantage.resize(e.target.size());
  e.returns.resize(e.target.size());
  return e;
}

// Rewards of each answer token, then advantages and returns.
void judge(Experience& e, PpoModels& m, const std::vector<float>& score, const PpoOptions& o, RunningStats& stats,
           PpoPoint& p) {
  const size_t T = e.target.size();
  std::vector<float> ref(T), value(T), now(T), entropy(T), reward(T, 0);
  m.reference.logprobs(e.batch, e.target, ref);
  const LmSums actor = m.actor.logprobs(e.batch, e.target, now, entropy);
  m.critic.values(e.batch, value);
  const auto tokens = static_cast<double>(actor.tokens);
  p.entropy = actor.entropy / tokens;
  for (float s : score) {
    stats.add(std::clamp(static_cast<double>(s), -o.reward_clip, o.reward_clip));
    p.score += static_cast<double>(s) / static_cast<double>(score.size());
  }
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
    const double clipped = std::clamp(static_cast<double>(score[i]), -o.reward_clip, o.reward_clip);
    reward[end - 1] += static_cast<float>((clipped - stats.mean) / stats.deviation());
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

int64_t answer_tokens(const Experience& e) {
  return std::count_if(e.target.begin(), e.target.end(), [](int32_t id) { return id >= 0; });
}

}  // namespace

void RunningStats::add(double x) {
  n += 1;
  const double d = x - mean;
  mean += d / n;
  m2 += d * (x - mean);
}
double RunningStats::deviation() const { return n > 1 ? std::sqrt(m2 / (n - 1)) + 1e-4 : 1; }

void compute_gae(std::span<const float> reward, std::span<const float> value, double gamma, double lambda,
                 std::span<float> advantage, std::span<float> returns) {
  double sum = 0;
  for (size_t t = reward.size(); t-- > 0;) {
    const double next = t + 1 < value.size() ? static_cast<double>(value[t + 1]) : 0;
    const double delta = static_cast<double>(reward[t]) + gamma * next - static_cast<double>(value[t]);
    sum = delta + gamma * lambda * sum;
    advantage[t] = static_cast<float>(sum);
    returns[t] = static_cast<float>(sum + static_cast<double>(value[t]));
  }
}

float ppo_coefficient(float logp, float old_logp, float advantage, double clip_ratio) {
  const double ratio = std::exp(static_cast<double>(logp - old_logp));
  if ((advantage > 0 && ratio > 1 + clip_ratio) || (advantage < 0 && ratio < 1 - clip_ratio)) return 0;
  return static_cast<float>(ratio * static_cast<double>(advantage));
}

double accumulate_ppo(Learner& actor, const Experience& e, double clip_ratio) {
  const auto tokens = static_cast<double>(answer_tokens(e));
  double clipped = 0;
  actor.accumulate_lm(e.batch, e.target, [&](std::span<const float> logp, std::span<float> coef) {
    for (size_t t = 0; t < logp.size(); ++t) {
      coef[t] = 0;
      if (e.target[t] < 0) continue;
      const float c = ppo_coefficient(logp[t], e.old_logp[t], e.advantage[t], clip_ratio);
      clipped += c == 0 && e.advantage[t] != 0;
      coef[t] = static_cast<float>(-static_cast<double>(c) / tokens);
    }
  });
  return clipped / tokens;
}

double accumulate_critic(Learner& critic, const Experience& e) {
  const auto tokens = static_cast<double>(answer_tokens(e));
  double loss = 0;
  critic.accumulate_values(e.batch, [&](std::span<const float> value, std::span<float> coef) {
    for (size_t t = 0; t < value.size(); ++t) {
      coef[t] = 0;
      if (e.target[t] < 0) continue;
      const double d = static_cast<double>(value[t] - e.returns[t]);
      coef[t] = static_cast<float>(d / tokens);
      loss += 0.5 * d * d / tokens;
    }
  });
  return loss;
}

PpoReport run_ppo(PpoModels m, const Tokenizer& tokenizer, const EncodedChats& sft, const RolloutFn& rollout,
                  const PpoOptions& o, const std::function<void(const PpoPoint&)>& after_step) {
  if (o.pretrain_coef > 0 && sft.size() == 0)
    fail("[align] PPO: expected SFT data for pretrain_coef ", o.pretrain_coef, ", got none; give data or set it to 0");
  const Stopwatch clock;
  Rng rng(static_cast<uint64_t>(o.seed));
  ChatStream stream(sft, static_cast<uint64_t>(o.seed));
  RunningStats stats;
  PpoReport r;
  Progress bar("rlhf", o.steps, "steps");
  for (; r.steps < o.steps && !(r.interrupted = interrupted()); ++r.steps) {
    PpoPoint p{r.steps + 1};
    const Questions q = draw_questions(tokenizer, o, rng);
    const Stopwatch sampling;
    const std::vector<SampledAnswer> answers =
        rollout(m.actor.weights(), q.prompts, tokenizer.special("<|im_end|>"), o.max_answer_tokens, rng.next());
    if ((r.interrupted = interrupted())) break;
    p.rollout_seconds = sampling.seconds();
    const std::vector<float> score = score_answers(m.reward, tokenizer, q, answers, o, p);
    Experience e = pack(q, answers);
    judge(e, m, score, o, stats, p);
    p.critic_loss = accumulate_critic(m.critic, e);
    r.skipped_steps += m.critic.apply(o.critic_lr).skipped;
    if (r.steps >= o.critic_warmup_steps) {
      p.clipped = accumulate_ppo(m.actor, e, o.clip_ratio);
      if (o.pretrain_coef > 0) p.sft_loss = accumulate_sft(m.actor, stream, o);
      const StepResult step = m.actor.apply(o.actor_lr);
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
