// Preference pairs: a dialogue and two answers, of which one is better. InternLM2's reward model is conditional: one
// model judges by several standards, and a domain system prompt put in front of the dialogue says which (report,
// section 4.2.1).
#pragma once
#include <string>
#include <vector>

#include "align/instructions.h"
#include "align/rollout.h"

namespace puyu {

// The domain system prompts.
extern const char* const kJudgeCorrectness;
extern const char* const kJudgeConciseness;

struct PreferencePair {
  Dialogue prompt;  // ends with the user's message; opens with the system prompt that says what to judge
  std::string chosen, rejected;
};

// JSONL of {"prompt": [messages], "chosen": text, "rejected": text}.
std::vector<PreferencePair> read_preferences(const std::string& path);
void write_preferences(const std::string& path, const std::vector<PreferencePair>& pairs);

struct PreferenceOptions {
  int64_t arithmetic_100 = 4000;
  int64_t arithmetic_1000 = 4000;
  int64_t concise = 1000;
  int64_t sampled = 0;
  double sampled_share_100 = 0.4;
  int64_t sampled_repeats = 1;
  double slips = 0.7;
  int64_t seed = 11;
  template <class F>
  void fields(F&& f) {
    f("arithmetic_100", arithmetic_100, "right over wrong, operands up to 100");
    f("arithmetic_1000", arithmetic_1000, "right over wrong, operands up to 1000");
    f("concise", concise, "concise over rambling");
    f("sampled", sampled, "questions that the model itself answers; each wrong answer stands under the right one");
    f("sampled_share_100", sampled_share_100, "share of those questions up to 100; the rest is up to 1000");
    f("sampled_repeats", sampled_repeats, "times each of those pairs appears");
    f("slips", slips, "share of wrong answers with a slip in a column; the rest ends in another result");
    f("seed", seed, "the same seed makes the same pairs");
  }
};

// A near miss: a slip in one column that the result follows (with probability `slips`), or the right working and a
// result with one digit changed.
std::string wrong_answer(const Arithmetic& q, double slips, Rng& rng);
// The same words with fillers around and the answer said twice.
std::string ramble(const std::string& answer, bool chinese, Rng& rng);
// Who answers the `sampled` questions: the SFT model.
struct AnswerSource {
  Weights& model;
  const Tokenizer& tokenizer;
  const RolloutFn& rollout;
};
// Concise-over-rambling pairs are made of `dialogues`. held_out: arithmetic of the held-out part, to measure the reward
// model. source: needed when o.sampled > 0.
std::vector<PreferencePair> make_preferences(const PreferenceOptions& o, const std::vector<Dialogue>& dialogues,
                                             bool held_out, const AnswerSource* source = nullptr);

}  // namespace puyu
