// Encoder files whose checksum fits but whose contents are anything: refused with a reason, or a model that gives
// probabilities.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "data/encoder.h"
#include "data/sealed_file.h"
#include "fuzz.h"

using namespace puyu;

namespace {

constexpr size_t kFieldBytes = 32;  // of an input: the header's fields, then the body

std::string temporary() { return "/tmp/puyu_fuzz_encoder_" + std::to_string(::getpid()); }

}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<LabelledText> texts;
  for (int i = 0; i < 8; ++i) texts.push_back({cat("word", i, " and more"), "en", i % 2 == 0});
  ClassifierOptions o;
  o.positive = "yes", o.folds = 2, o.calibration = "isotonic";
  EncoderOptions e;
  e.hidden = 16, e.layers = 1, e.heads = 1, e.feed_forward = 16, e.vocabulary = 512, e.max_tokens = 8;
  e.batch_tokens = 32, e.epochs = 1;
  train_encoder(texts, o, e, temporary());
  const std::string file = read_file(temporary());
  ::unlink(temporary().c_str());
  return {file.substr(32)};  // behind magic, version, size and checksum
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz_bytes(data, size);
  if (bytes.size() < kFieldBytes) return 0;
  SealedFields fields;
  std::memcpy(fields.data(), bytes.data(), kFieldBytes);
  SealedWriter writer(temporary(), kEncoderMagic, 1);
  writer.write(bytes.substr(kFieldBytes));
  writer.commit(fields);
  try {
    const double p = EncoderClassifier(temporary()).score("word1 and more, 世界");
    expect(!(p < 0 || p > 1));  // weights that overflow give no number
  } catch (const Error&) {}
  ::unlink(temporary().c_str());
  return 0;
}
