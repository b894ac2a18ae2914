// What the tests of this folder train on: a tokenizer, a model and a task small enough for seconds.
#pragma once
#include <cstring>

#include "align/preference.h"
#include "text/bpe_train.h"
#include "train/learner.h"

namespace puyu {

inline Tokenizer tiny_tokenizer() {
  BpeTrainOptions o;
  o.vocab_size = 512;
  o.min_count = 1;
  std::vector<std::string> texts = {"user\nassistant\nsystem\nWhat is red green blue?\n", kJudgeCorrectness};
  for (const Dialogue& d : identity_dialogues()) texts.push_back(d[0].content + d[1].content);
  size_t at = 0;
  return train_bpe(o, [&](std::string& text) { return at < texts.size() && (text = texts[at++], true); });
}

inline ModelConfig tiny_config(const Tokenizer& t) {
  ModelConfig c;
  c.vocab_size = t.vocab_size(), c.hidden_size = 32, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 64, c.rope_theta = 1e4, c.max_position = 256;
  return c;
}

inline Learner make_learner(const Tokenizer& t, Head head, uint64_t seed, bool trainable = true) {
  Weights w = make_weights(tiny_config(t), head, DType::kF32);
  init_weights(w, seed);
  OptimizerOptions o;
  o.weight_decay = 0;
  return Learner(std::move(w), o, Recompute::kNone, trainable);
}

inline std::vector<Dialogue> colours() {
  return {question_answer("What is red?", "a"), question_answer("What is green?", "b"),
          question_answer("What is blue?", "c")};
}

inline bool same_weights(Weights& a, Weights& b) {
  const Arena &x = *a.master.arena, &y = *b.master.arena;
  bool same = x.used() == y.used();
  std::vector<Tensor> tensors;
  a.master.tensors.each(a.config, a.head, [&](const std::string&, Tensor& t, Spec, int64_t) { tensors.push_back(t); });
  size_t i = 0;
  b.master.tensors.each(b.config, b.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
    same = same && std::memcmp(t.data, tensors[i++].data, static_cast<size_t>(t.nbytes())) == 0;
  });
  return same;
}

inline std::vector<int> numbers_in(const std::string& text) {
  std::vector<int> out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!isdigit(text[i])) continue;
    size_t n = 0;
    out.push_back(std::stoi(text.substr(i), &n));
    i += n;
  }
  return out;
}

}  // namespace puyu
