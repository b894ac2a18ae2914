// What training and use of an encoder share: its tokens and its forward pass.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "data/encoder.h"
#include "model/model.h"

namespace puyu {

// Hashes of a text's tokens: words in lower case, single ideographs, other characters but white space, line ends.
std::vector<uint64_t> encoder_pieces(std::string_view text);

constexpr int32_t kMaskId = 0, kRareIds = 256, kFirstOwnId = 1 + kRareIds;
constexpr int64_t kMostWindows = 4;  // of a text, when it is judged
constexpr size_t kMostPieces = size_t{1} << 16;

struct EncoderVocabulary {
  std::vector<uint64_t> hashes;  // ascending; of the tokens with a row of their own
  int32_t id(uint64_t hash) const;
  std::vector<int32_t> ids(std::string_view text) const;
};

// Error naming the option that cannot be.
ModelConfig encoder_config(const EncoderOptions& options);

// Weights and memory of one encoder.
class EncoderNet {
 public:
  EncoderNet(const ModelConfig& config, const EncoderOptions& options);
  // The mean hidden state of each sequence times the head: one margin a sequence.
  std::vector<double> margins(const Batch& batch);
  // The mean over the windows of a text.
  double margin(const std::vector<int32_t>& ids);
  Arena scratch, activations;
  Ctx ctx;
  Weights weights;

  Sequences sequences(const Batch& batch) const { return batch.sequences(rope_); }
  std::vector<double> pooled(const Batch& batch, Tensor hidden) const;  // [sequences, D]

 private:
  int64_t max_tokens_;
  Arena tables_;
  Tensor rope_;
};
Batch encoder_batch();  // whose tokens see both ways

}  // namespace puyu
