// A PPO step's answers: sampled, checked, scored.
#pragma once
#include <vector>

#include "align/ppo_update.h"
#include "align/rollout.h"

namespace puyu {

struct SampleOptions {
  int64_t questions, each, max_answer_tokens;
  double share_100;
};
// Answers and the questions they answer. Of several answers to a question, those that are all the same teach nothing
// (centred, their scores are 0) and are left out; accuracy and answer_tokens are over all that were sampled.
struct Answered {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<Dialogue> dialogues;
  std::vector<SampledAnswer> answers;
  std::vector<Arithmetic> questions;
  std::vector<size_t> group;  // answers to one question share a number below SampleOptions::questions
  std::vector<bool> right;
  double accuracy = 0, answer_tokens = 0;
  size_t size() const { return answers.size(); }
};
// Empty when the user interrupts.
Answered sample_answers(Weights& actor, const Tokenizer& t, const RolloutFn& rollout, const SampleOptions& o, Rng& rng);

// Scores of the answers under `kJudgeCorrectness`, clipped to +- limit.
std::vector<float> score_answers(Learner& reward, const Tokenizer& t, const Answered& a, double limit,
                                 int64_t batch_tokens);

// Share of (right, wrong) answers that the scores put in order; `within_question` compares answers to one question
// only. 1 for a perfect judge, 0.5 for one that guesses, 0 without pairs.
double share_ranked(const Answered& a, const std::vector<float>& score, bool within_question);

// Scores as rewards: a mean taken off, the question's own (`by_question`) or the running one, and divided by the
// running standard deviation of what is left.
std::vector<float> normalise_scores(const std::vector<float>& score, const Answered& a, bool by_question,
                                    RunningStats& stats);

// Packs prompts and answers; position t of an answer predicts token t + 1.
Experience pack_experience(const Answered& a);

}  // namespace puyu
