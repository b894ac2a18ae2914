#include "align/ppo_answers.h"

#include <algorithm>
#include <map>

#include "align/reward.h"

namespace puyu {

Answered sample_answers(Weights& actor, const Tokenizer& t, const RolloutFn& rollout, const SampleOptions& o,
                        Rng& rng) {
  const ArithmeticPrompts q = draw_arithmetic(t, o.questions, o.share_100, false, rng);
  const int32_t stop = t.special("<|im_end|>");
  std::vector<std::vector<int32_t>> prompts;
  for (const auto& prompt : q.prompts) prompts.insert(prompts.end(), static_cast<size_t>(o.each), prompt);
  const std::vector<SampledAnswer> all = rollout(actor, prompts, stop, o.max_answer_tokens, rng.next());
  Answered kept;
  if (all.size() != prompts.size()) return kept;  // interrupted
  const auto n = static_cast<double>(all.size());
  for (size_t i = 0; i < q.prompts.size(); ++i) {
    const auto begin = all.begin() + static_cast<int64_t>(i) * o.each, end = begin + o.each;
    const bool agree = std::all_of(begin, end, [&](const SampledAnswer& a) { return a.tokens == begin->tokens; });
    for (auto a = begin; a != end; ++a) {
      const bool right = read_answer(answer_text(t, *a, stop)) == q.questions[i].result();
      kept.accuracy += right / n;
      kept.answer_tokens += static_cast<double>(a->tokens.size()) / n;
      if (o.each > 1 && agree) continue;
      kept.prompts.push_back(q.prompts[i]);
      kept.dialogues.push_back(q.dialogues[i]);
      kept.answers.push_back(*a);
      kept.questions.push_back(q.questions[i]);
      kept.group.push_back(i);
      kept.right.push_back(right);
    }
  }
  return kept;
}

std::vector<float> score_answers(Learner& reward, const Tokenizer& t, const Answered& a, double limit,
                                 int64_t batch_tokens) {
  std::vector<std::vector<int32_t>> sequences;
  for (size_t i = 0; i < a.size(); ++i)
    sequences.push_back(encode_scored(t, {{"system", kJudgeCorrectness, ""}, a.dialogues[i][0]},
                                      answer_text(t, a.answers[i], t.special("<|im_end|>"))));
  std::vector<float> score = score_sequences(reward, sequences, batch_tokens);
  for (float& s : score) s = std::clamp(s, static_cast<float>(-limit), static_cast<float>(limit));
  return score;
}

double share_ranked(const Answered& a, const std::vector<float>& score, bool within_question) {
  int64_t pairs = 0, ordered = 0;
  for (size_t i = 0; i < score.size(); ++i)
    for (size_t j = 0; j < score.size(); ++j)
      if (a.right[i] && !a.right[j] && (!within_question || a.group[i] == a.group[j]))
        ++pairs, ordered += score[i] > score[j];
  return pairs ? static_cast<double>(ordered) / static_cast<double>(pairs) : 0;
}

std::vector<float> normalise_scores(const std::vector<float>& score, const Answered& a, bool by_question,
                                    RunningStats& stats) {
  std::map<size_t, RunningStats> question;
  for (size_t i = 0; i < score.size(); ++i) question[a.group[i]].add(static_cast<double>(score[i]));
  std::vector<double> left(score.begin(), score.end());
  if (by_question)
    for (size_t i = 0; i < left.size(); ++i) left[i] -= question[a.group[i]].mean;
  for (double s : left) stats.add(s);
  std::vector<float> out;
  for (double s : left) out.push_back(static_cast<float>((s - (by_question ? 0 : stats.mean)) / stats.deviation()));
  return out;
}

Experience pack_experience(const Answered& a) {
  Experience e;
  for (size_t i = 0; i < a.size(); ++i) {
    const SampledAnswer& answer = a.answers[i];
    std::vector<int32_t> ids = a.prompts[i];
    const size_t prompt = ids.size(), n = answer.tokens.size();
    ids.insert(ids.end(), answer.tokens.begin(), answer.tokens.end());
    e.batch.add(ids.data(), static_cast<int64_t>(ids.size()));
    e.target.resize(e.target.size() + prompt - 1, -1);
    e.target.insert(e.target.end(), answer.tokens.begin(), answer.tokens.end());
    e.target.push_back(-1);
    e.old_logp.resize(e.target.size(), 0);
    std::copy_n(answer.logp.begin(), n, e.old_logp.end() - static_cast<int64_t>(n) - 1);
  }
  e.advantage.resize(e.target.size());
  e.returns.resize(e.target.size());
  return e;
}

}  // namespace puyu
