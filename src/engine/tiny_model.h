// For tests: a tokenizer trained on a few sentences and a model of random weights that babbles with it.
#pragma once
#include "engine/local_generator.h"
#include "text/bpe_train.h"

namespace puyu {

inline Tokenizer tiny_tokenizer() {
  std::string words = "the cat sat on the mat, hello world! 大模型从原始文本到对话 🐉话题 ENDE ";
  Rng rng(1);
  for (int i = 0; i < 600; ++i) {  // made-up words, so that there is enough to merge
    for (uint64_t n = 1 + rng.below(3); n > 0; --n) words += {"bdfgklmnprst"[rng.below(12)], "aeiou"[rng.below(5)]};
    words += ' ';
  }
  int left = 4;
  BpeTrainOptions o;
  o.vocab_size = 512, o.character_coverage = 1;
  return train_bpe(o, [&](std::string& text) { return left-- > 0 && (text = words, true); });
}

inline std::shared_ptr<LocalModel> tiny_model(const EngineOptions& options = {}) {
  Tokenizer t = tiny_tokenizer();
  ModelConfig c;
  c.vocab_size = t.vocab_size() + 3, c.hidden_size = 32, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 48, c.max_position = 256;
  Weights w = make_weights(c, Head::kLanguage, DType::kF32);
  init_weights(w, 1);
  Tensor& out = w.master.tensors.output;
  for (int64_t i = 0; i < out.numel(); ++i) out.as<float>()[i] *= 10;
  return std::make_shared<LocalModel>(t, std::move(w), options);
}

}  // namespace puyu
