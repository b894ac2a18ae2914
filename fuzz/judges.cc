// Classifiers, n-gram models, ARPA files and benchmark windows: what is accepted can be used.
#include "base/error.h"
#include "data/classifier.h"
#include "data/decontaminate.h"
#include "data/ngram_model.h"
#include "fuzz.h"
#include "reseal.h"

using namespace puyu;

namespace {
const std::string kPath = "/tmp/puyu_fuzz_judges_" + std::to_string(::getpid());

std::string take() {
  std::string bytes = read_file(kPath);
  ::unlink(kPath.c_str());
  return bytes;
}
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> out;
  ClassifierOptions c;
  c.positive = "x", c.bits = 8, c.folds = 2, c.epochs = 1;
  std::vector<LabelledText> texts;
  for (int i = 0; i < 12; ++i) texts.push_back({cat("text ", i, i % 2 ? " good" : " bad"), "en", i % 2 == 0});
  train_classifier(texts, c, kPath);
  out.push_back(take());
  NgramOptions n;
  n.order = 3;
  train_ngram([](const std::function<void(std::string_view)>& fn) { fn("a b c\nb c d a\na b\n"); }, n, kPath);
  export_arpa(NgramModel(kPath), kPath + ".arpa");
  out.push_back(take());
  out.push_back(read_file(kPath + ".arpa"));
  ::unlink((kPath + ".arpa").c_str());
  build_benchmarks({{"b", "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"}}, kPath);
  out.push_back(take());
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemoryFile file(reseal(fuzz_bytes(data, size))), plain(fuzz_bytes(data, size));
  try {
    double p = Classifier(file.path()).score("text 1 good 中文");
    expect(p >= 0 && p <= 1);
  } catch (const Error&) {}
  try {
    NgramModel m(file.path());
    m.score("a b c d e\nc b a");
    int64_t grams = 0;
    m.each_gram([&](int, const uint32_t*, float, float) { ++grams; });
  } catch (const Error&) {}
  try {
    BenchmarkWindows(file.path()).find("one two three four five six seven eight nine ten eleven twelve thirteen");
  } catch (const Error&) {}
  try {
    import_arpa(plain.path(), kPath, 1 << 20);
    NgramModel(kPath).score("a b c d");
    ::unlink(kPath.c_str());
  } catch (const Error&) {}
  return 0;
}
