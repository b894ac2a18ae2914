// A small BERT-like encoder as a classifier of texts: transformer blocks of model/ whose attention sees both ways, the
// mean of the last hidden states, one number. It sees the order of words, which the linear classifier (classifier.h)
// hardly does. Tokens are words, ideographs and marks: the most frequent have a row each, the rest share 256. It may
// first learn from texts without labels to fill in masked tokens (Devlin et al. 2019), then from the labelled ones;
// cross-validated and calibrated as the linear one, and the same bytes for any number of threads.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/classifier.h"

namespace puyu {

constexpr std::string_view kEncoderMagic = "PUYUENC1";

struct EncoderOptions {
  int64_t hidden = 192, layers = 4, heads = 4, feed_forward = 512, vocabulary = 8192, max_tokens = 256,
          batch_tokens = 4096, epochs = 4, pretrain_tokens = 0;
  double lr = 1e-3, pretrain_lr = 2e-3, weight_decay = 0.05, masked = 0.15;
  std::vector<std::string> unlabelled;
  template <class F>
  void fields(F&& f) {
    f("hidden", hidden, "width of the blocks");
    f("layers", layers, "transformer blocks");
    f("heads", heads, "heads of attention");
    f("feed_forward", feed_forward, "width inside a block");
    f("vocabulary", vocabulary, "rows of the embedding, 256 of them for rare tokens");
    f("max_tokens", max_tokens, "tokens of a window; longer texts are judged by up to 4 windows");
    f("batch_tokens", batch_tokens, "tokens of a step");
    f("epochs", epochs, "times through the labelled texts");
    f("pretrain_tokens", pretrain_tokens, "tokens of filling in before that, over `unlabelled`; 0: none");
    f("lr", lr, "peak learning rate (AdamW)");
    f("pretrain_lr", pretrain_lr, "peak learning rate of filling in");
    f("weight_decay", weight_decay, "of matrices");
    f("masked", masked, "share of tokens to fill in");
    f("unlabelled", unlabelled, "texts to fill in: corpus folders, files or folders");
  }
};

// As train_classifier; of ClassifierOptions positive, calibration, folds and seed count.
Json train_encoder(const std::vector<LabelledText>& texts, const ClassifierOptions& options,
                   const EncoderOptions& encoder, const std::string& out);

class EncoderClassifier final : public TextClassifier {
 public:
  explicit EncoderClassifier(const std::string& path);
  ~EncoderClassifier() override;
  double score(std::string_view text) const override;  // one call at a time computes
  const Json& info() const override;
  uint64_t checksum() const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace puyu
