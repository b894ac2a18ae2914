// Which kind of classifier a file holds.
#include "base/file.h"
#include "data/classifier.h"
#include "data/encoder.h"

namespace puyu {

std::unique_ptr<const TextClassifier> load_classifier(const std::string& path) {
  const std::string magic(MappedFile(path).bytes().substr(0, kEncoderMagic.size()));
  if (magic == kEncoderMagic) return std::make_unique<EncoderClassifier>(path);
  return std::make_unique<Classifier>(path);  // says what is wrong with any other file
}

}  // namespace puyu
