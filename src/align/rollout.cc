#include "align/rollout.h"

#include <algorithm>

namespace puyu {

std::string answer_text(const Tokenizer& t, const SampledAnswer& a, int32_t stop) {
  std::span<const int32_t> ids = a.tokens;
  if (!ids.empty() && ids.back() == stop) ids = ids.first(ids.size() - 1);
  std::vector<int32_t> known;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(known), [&](int32_t id) { return id < t.vocab_size(); });
  return t.decode(known);
}

ArithmeticPrompts draw_arithmetic(const Tokenizer& t, int64_t count, double share_100, bool held_out, Rng& rng) {
  ArithmeticPrompts p;
  for (int64_t i = 0; i < count; ++i) {
    const Arithmetic q = random_arithmetic(rng, rng.uniform() < share_100 ? 100 : 1000, held_out);
    p.questions.push_back(q);
    p.dialogues.push_back(ask(word_arithmetic(q, rng.below(arithmetic_wordings(q.minus).size()))));
    p.prompts.push_back(encode_chat(t, p.dialogues.back(), true));
  }
  return p;
}

}  // namespace puyu
