#include "align/evaluate.h"

#include <algorithm>

namespace puyu {
namespace {

constexpr size_t kGroup = 128;  // prompts in a forward pass

struct Decoding {
  std::vector<int32_t> ids;
  size_t prompt = 0;
  bool done = false;
};

// The most likely next id after each sequence that is not done.
void step(Ctx& ctx, Arena& arena, Weights& w, Tensor rope, int32_t stop, std::vector<Decoding>& group) {
  ScratchScope scope(arena);
  Batch b;
  std::vector<Decoding*> live;
  for (Decoding& d : group)
    if (!d.done) live.push_back(&d), b.add(d.ids.data(), static_cast<int64_t>(d.ids.size()));
  if (live.empty()) return;
  const Tensor h = model_forward(ctx, arena, w, b.ids.data(), b.tokens(), b.sequences(rope), nullptr);
  const int64_t D = h.shape[1], V = w.output().shape[0];
  const auto n = static_cast<int64_t>(live.size());
  Tensor last = arena.alloc(h.dtype, {n, D}), logits = arena.alloc(DType::kF32, {n, V});
  for (int64_t i = 0; i < n; ++i) {
    const Tensor row = h.rows(b.cu[i + 1] - 1, b.cu[i + 1]);
    std::copy_n(static_cast<const char*>(row.data), row.nbytes(), static_cast<char*>(last.rows(i, i + 1).data));
  }
  linear(ctx, logits, last, w.output());
  for (int64_t i = 0; i < n; ++i) {
    const float* row = logits.as<float>() + i * V;
    const auto id = static_cast<int32_t>(std::max_element(row, row + V) - row);
    if (id == stop)
      live[i]->done = true;
    else
      live[i]->ids.push_back(id);
  }
}

}  // namespace

std::vector<std::string> greedy_answers(Ctx& ctx, Weights& w, const Tokenizer& t, const std::vector<Dialogue>& prompts,
                                        int max_tokens) {
  Arena arena("greedy answers", int64_t{1} << 40);
  const Tensor rope = make_rope_table(arena, w.config, w.config.max_position);
  std::vector<std::string> out;
  for (size_t at = 0; at < prompts.size(); at += kGroup) {
    std::vector<Decoding> group;
    for (size_t i = at; i < std::min(prompts.size(), at + kGroup); ++i) {
      group.push_back({encode_chat(t, prompts[i], true), 0, false});
      group.back().prompt = group.back().ids.size();
    }
    for (int i = 0; i < max_tokens; ++i) step(ctx, arena, w, rope, t.special("<|im_end|>"), group);
    for (const Decoding& d : group) out.push_back(t.decode(std::span(d.ids).subspan(d.prompt)));
  }
  return out;
}

Accuracy arithmetic_accuracy(Ctx& ctx, Weights& w, const Tokenizer& t, const std::vector<Arithmetic>& questions) {
  std::vector<Dialogue> prompts;
  for (size_t i = 0; i < questions.size(); ++i)
    prompts.push_back(ask(word_arithmetic(questions[i], i % arithmetic_wordings(questions[i].minus).size())));
  const std::vector<std::string> answers = greedy_answers(ctx, w, t, prompts, 48);
  Accuracy a{0, static_cast<int64_t>(questions.size())};
  for (size_t i = 0; i < questions.size(); ++i) a.right += read_answer(answers[i]) == questions[i].result();
  return a;
}

Accuracy exact_match(Ctx& ctx, Weights& w, const Tokenizer& t, const std::vector<Dialogue>& dialogues, int max_tokens) {
  std::vector<Dialogue> prompts;
  for (const Dialogue& d : dialogues) prompts.emplace_back(d.begin(), d.end() - 1);
  const std::vector<std::string> answers = greedy_answers(ctx, w, t, prompts, max_tokens);
  Accuracy a{0, static_cast<int64_t>(dialogues.size())};
  for (size_t i = 0; i < dialogues.size(); ++i) a.right += answers[i] == dialogues[i].back().content;
  return a;
}

}  // namespace puyu
