#include "data/dedup_quality.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "data/words.h"

namespace puyu {
namespace {

// The text with words replaced, each by a word of any text.
std::string edited(const std::string& text, double share, const std::vector<std::string_view>& words, Rng& rng) {
  std::string out;
  const char* at = text.data();
  for (const Word& w : split_words(text)) {
    out.append(at, w.text.data());
    if (rng.uniform() < share)
      out += words[rng.below(words.size())];
    else
      out += w.text;
    at = w.text.data() + w.text.size();
  }
  return out.append(at, text.data() + text.size());
}

struct Corpus {
  std::vector<std::string> texts;
  std::vector<DedupKey> keys;
  std::vector<Signature> signatures;
  void add(std::string text, int ngram) {
    const uint64_t number = keys.size();
    keys.push_back({{number, 0}, hash128(text), 0, static_cast<uint32_t>(text.size()), 0});
    signatures.push_back(minhash(text, ngram));
    texts.push_back(std::move(text));
  }
  DedupView view() const { return {keys.data(), signatures.data(), static_cast<int64_t>(keys.size())}; }
};

double mean_over(const std::vector<PlantedPair>& pairs, double threshold, double (*value)(const PlantedPair&)) {
  double sum = 0, n = 0;
  for (const PlantedPair& p : pairs)
    if (p.similarity >= threshold) sum += value(p), ++n;
  return n > 0 ? sum / n : 0;
}

}  // namespace

double DedupQuality::recall() const {
  return mean_over(pairs, threshold, [](const PlantedPair& p) { return p.found ? 1.0 : 0.0; });
}
double DedupQuality::expected_recall() const {
  return mean_over(pairs, threshold, [](const PlantedPair& p) { return p.expected; });
}
double DedupQuality::precision() const {
  return reported ? static_cast<double>(right) / static_cast<double>(reported) : 0;
}

std::vector<std::string> cut_texts(const std::vector<std::string>& documents, const PlantOptions& o) {
  if (o.words < 20) fail("[dedup] words: expected at least 20, got ", o.words);
  std::vector<std::string> out;
  const auto n = static_cast<size_t>(o.words);
  for (const std::string& d : documents) {
    const std::vector<Word> words = split_words(d);
    for (size_t i = 0; i + n <= words.size(); i += n) {
      const std::string_view last = words[i + n - 1].text;
      out.emplace_back(words[i].text.data(), last.data() + last.size());
    }
  }
  return out;
}

DedupQuality measure_dedup(const std::vector<std::string>& texts, const DedupOptions& dedup, const PlantOptions& o) {
  if (!(o.most_edits > 0 && o.most_edits <= 1)) fail("[dedup] most_edits: expected a share, got ", o.most_edits);
  std::vector<std::string_view> words;
  for (const std::string& t : texts)
    for (const Word& w : split_words(t)) words.push_back(w.text);
  if (words.empty()) fail("[dedup] no text of ", o.words, " words was given");
  Corpus corpus;
  Rng rng(static_cast<uint64_t>(o.seed));
  for (const std::string& t : texts) {
    corpus.add(t, dedup.ngram);
    corpus.add(edited(t, o.most_edits * rng.uniform(), words, rng), dedup.ngram);
  }
  const std::vector<Duplicate> twins = find_duplicates(corpus.view(), dedup);
  auto root = [&](size_t i) { return twins[i].survivor < 0 ? static_cast<int64_t>(i) : twins[i].survivor; };
  auto exact = [&](size_t a, size_t b) { return exact_jaccard(corpus.texts[a], corpus.texts[b], dedup.ngram); };
  const Banding banding = banding_of(dedup);
  DedupQuality out;
  out.threshold = dedup.threshold;
  for (size_t i = 0; i < corpus.texts.size(); i += 2) {
    const double s = exact(i, i + 1);
    out.pairs.push_back({s, pair_probability(banding, s, dedup.threshold), root(i) == root(i + 1)});
  }
  for (size_t i = 0; i < twins.size(); ++i) {
    if (twins[i].survivor < 0) continue;
    ++out.reported, out.right += exact(i, static_cast<size_t>(twins[i].survivor)) >= dedup.threshold;
  }
  return out;
}

}  // namespace puyu
