// Training an n-gram model. The steps, each a pass over sorted records:
//   1 the vocabulary    2 the counts of the longest grams, by reversed words
//   3 adjusted counts: of shorter grams the number of different words before them (of those that begin a sentence, the
//     plain count); counts of counts; discounts
//   4 by context: u = (a - D) / sum, and the weight that the context leaves to the shorter one
//   5 by reversed words again: p = u + weight * p(shorter), which lies next in the order below
#include <cmath>
#include <filesystem>
#include <unordered_map>

#include "base/log.h"
#include "base/rng.h"
#include "data/ascii.h"
#include "data/ngram_file.h"
#include "data/words.h"

namespace puyu {
namespace {

struct Counted {
  uint32_t words[kMaxNgram] = {};
  uint32_t pad = 0;
  uint64_t count = 0;
};
struct Weighed {  // u and the context's weight, later the probability
  uint32_t words[kMaxNgram] = {};
  uint32_t pad = 0;
  double u = 0, weight = 0;
};

// By reversed words, and by context (all but the last word), then the last.
template <class T>
struct BySuffix {
  bool operator()(const T& a, const T& b) const {
    return std::lexicographical_compare(a.words, a.words + kMaxNgram, b.words, b.words + kMaxNgram);
  }
};
struct ByContext {
  bool operator()(const Counted& a, const Counted& b) const {
    if (int c = compare(a, b)) return c < 0;
    return a.words[0] < b.words[0];
  }
  static int compare(const Counted& a, const Counted& b) {
    for (int k = 1; k < kMaxNgram; ++k)
      if (a.words[k] != b.words[k]) return a.words[k] < b.words[k] ? -1 : 1;
    return 0;
  }
};
struct AddCounts {
  bool operator()(Counted& into, const Counted& other) const {
    if (!std::equal(into.words, into.words + kMaxNgram, other.words)) return false;
    into.count += other.count;
    return true;
  }
};
template <class T>
struct NoJoin {
  bool operator()(T&, const T&) const { return false; }
};
using CountSorter = ExternalSorter<Counted, BySuffix<Counted>, AddCounts>;
using ContextSorter = ExternalSorter<Counted, ByContext, NoJoin<Counted>>;
using WeightSorter = ExternalSorter<Weighed, BySuffix<Weighed>, NoJoin<Weighed>>;

Vocabulary read_vocabulary(const TextSource& texts, int64_t min_count, NgramCounts& totals) {
  struct Seen {
    std::string text;
    int64_t count = 0;
  };
  std::unordered_map<uint64_t, Seen> seen;
  texts([&](std::string_view text) {
    for_each_sentence(text, [&](const std::vector<std::string>& words) {
      ++totals.sentences, totals.words += static_cast<int64_t>(words.size());
      for (const std::string& w : words) {
        Seen& s = seen[ngram_word_hash(w)];
        if (s.count++ == 0) s.text = w;
      }
    });
  });
  if (seen.empty()) fail("[ngram] there are no words in the input");
  Vocabulary v;
  for (const auto& [hash, s] : seen)
    if (s.count >= min_count) v.hashes.push_back(hash);
  std::sort(v.hashes.begin(), v.hashes.end());
  for (uint64_t hash : v.hashes) v.texts.push_back(seen[hash].text);
  return v;
}

void count_grams(const TextSource& texts, const Vocabulary& vocabulary, int order, CountSorter& sorter) {
  std::vector<uint32_t> sentence;
  texts([&](std::string_view text) {
    for_each_sentence(text, [&](const std::vector<std::string>& words) {
      sentence.assign(1, kBeginWord);
      for (const std::string& w : words) sentence.push_back(vocabulary.number(ngram_word_hash(w)));
      sentence.push_back(kEndWord);
      for (size_t i = 1; i < sentence.size(); ++i) {
        Counted c;
        for (size_t k = 0; k < static_cast<size_t>(order) && k <= i; ++k) c.words[k] = sentence[i - k];
        c.count = 1;
        sorter.add(c);
      }
    });
  });
}

struct OrderCounts {
  uint64_t grams = 0;
  uint64_t of_counts[5] = {};  // how many grams have the adjusted count 1, 2, 3, 4
};

// Step 3. emit(order, gram with its adjusted count).
template <class F>
void adjust_counts(CountSorter& sorter, int order, std::vector<OrderCounts>& totals, F&& emit) {
  Counted last;
  bool any = false;
  uint64_t plain[kMaxNgram] = {}, before[kMaxNgram] = {};
  auto close = [&](int from) {  // the grams of `last` longer than `from` words end here
    for (int n = order; n > from; --n) {
      if (last.words[n - 1] == kNoWord) continue;
      Counted g;
      std::copy(last.words, last.words + n, g.words);
      g.count = n == order || last.words[n - 1] == kBeginWord ? plain[n - 1] : before[n - 1];
      ++totals[n - 1].grams;
      if (g.count < 5) ++totals[n - 1].of_counts[g.count];
      emit(n, g);
    }
  };
  sorter.finish([&](const Counted& r) {
    int same = 0;
    while (any && same < order && r.words[same] == last.words[same]) ++same;
    if (any) close(same);
    for (int n = same; n < order; ++n) plain[n] = before[n] = 0;
    for (int n = std::max(same, 1); n < order; ++n)  // a new gram of n + 1 words is a new word before that of n
      if (r.words[n] != kNoWord) ++before[n - 1];
    for (int n = 0; n < order; ++n) plain[n] += r.count;
    last = r, any = true;
  });
  if (any) close(0);
}

std::array<double, 3> discounts_of(const OrderCounts& c, int order) {
  auto n = [&](int i) { return static_cast<double>(c.of_counts[i]); };
  std::array<double, 3> d{0.5, 1, 1.5};
  if (c.of_counts[1] && c.of_counts[2] && c.of_counts[3] && c.of_counts[4]) {
    double y = n(1) / (n(1) + 2 * n(2));
    std::array<double, 3> closed{1 - 2 * y * n(2) / n(1), 2 - 3 * y * n(3) / n(2), 3 - 4 * y * n(4) / n(3)};
    if (closed[0] >= 0 && closed[1] >= 0 && closed[2] >= 0 && closed[0] <= 1 && closed[1] <= 2 && closed[2] <= 3)
      return closed;
  }
  log_info("ngram: too few grams of ", order, " words to estimate their discounts; 0.5, 1 and 1.5 stand in");
  return d;
}

// Step 4 for one order: grams with u, and the weights of the contexts that are grams themselves.
void weigh(ContextSorter& counts, const std::array<double, 3>& d, WeightSorter& grams, WeightSorter* weights) {
  std::vector<Counted> group;
  auto flush = [&] {
    if (group.empty()) return;
    double sum = 0, left = 0;
    auto discount = [&](uint64_t count) { return d[std::min<uint64_t>(count, 3) - 1]; };
    for (const Counted& g : group) sum += static_cast<double>(g.count), left += discount(g.count);
    Weighed w;
    w.weight = left / sum;
    if (weights) {
      std::copy(group[0].words + 1, group[0].words + kMaxNgram, w.words);
      weights->add(w);
    }
    for (const Counted& g : group) {
      std::copy(g.words, g.words + kMaxNgram, w.words);
      w.u = (static_cast<double>(g.count) - discount(g.count)) / sum;
      grams.add(w);
    }
    group.clear();
  };
  counts.finish([&](const Counted& g) {
    if (!group.empty() && ByContext::compare(group[0], g) != 0) flush();
    group.push_back(g);
  });
  flush();
}

struct Exact {  // a gram's probability as a double, for the order above
  uint32_t words[kMaxNgram] = {};
  uint32_t pad = 0;
  double p = 0;
};

// Reads a file of records along with a stream of longer ones.
template <class T>
class Follower {
 public:
  explicit Follower(RecordFile<T>& file) : file_(file) { file_.rewind(), more_ = file_.read(at_); }
  // The record of the first n of these words, null when there is none. Calls come in ascending order.
  const T* find(const uint32_t* words, int n) {
    auto less = [&] { return std::lexicographical_compare(at_.words, at_.words + n, words, words + n); };
    while (more_ && less()) more_ = file_.read(at_);
    return more_ && std::equal(words, words + n, at_.words) ? &at_ : nullptr;
  }

 private:
  RecordFile<T>& file_;
  T at_{};
  bool more_ = false;
};

}  // namespace

NgramCounts train_ngram(const TextSource& texts, const NgramOptions& o, const std::string& out) {
  if (o.order < 2 || o.order > kMaxNgram) fail("[ngram] order ", o.order, ": expected 2 to ", kMaxNgram);
  if (o.min_count < 1 || o.memory < (1 << 20))
    fail("[ngram] expected a min_count of at least 1 and memory of at least 1 MiB");
  const int N = o.order;
  auto share = static_cast<size_t>(o.memory) / static_cast<size_t>(3 * N + 3);
  AtomicFolder temp(out + ".sorting");  // never committed: it goes with its files
  const std::string& dir = temp.path();
  NgramCounts totals;
  Vocabulary vocabulary = read_vocabulary(texts, o.min_count, totals);
  CountSorter counts(dir, static_cast<size_t>(o.memory) / 2, {}, {});
  count_grams(texts, vocabulary, N, counts);
  std::vector<ContextSorter> contexts;
  std::vector<WeightSorter> grams, weights;
  for (int n = 0; n < N; ++n) {
    contexts.emplace_back(dir, share, ByContext{}, NoJoin<Counted>{});
    grams.emplace_back(dir, share, BySuffix<Weighed>{}, NoJoin<Weighed>{});
    weights.emplace_back(dir, share, BySuffix<Weighed>{}, NoJoin<Weighed>{});
  }
  std::vector<OrderCounts> by_order(N);
  adjust_counts(counts, N, by_order, [&](int n, const Counted& g) { contexts[n - 1].add(g); });

  for (int n = 1; n <= N; ++n) {
    totals.discounts.push_back(discounts_of(by_order[n - 1], n));
    weigh(contexts[n - 1], totals.discounts.back(), grams[n - 1], n > 1 ? &weights[n - 2] : nullptr);
  }
  // Every word but <s> can come next: the vocabulary, the unknown word and </s>.
  double uniform = 1.0 / static_cast<double>(vocabulary.hashes.size() + 2);
  std::vector<std::unique_ptr<RecordFile<Gram>>> files;
  std::unique_ptr<RecordFile<Exact>> below;
  for (int n = 1; n <= N; ++n) {
    auto exact = std::make_unique<RecordFile<Exact>>(dir);
    RecordFile<Weighed> left(dir);
    weights[n - 1].finish([&](const Weighed& w) { left.write(&w, 1); });
    Follower<Weighed> backoffs(left);
    std::unique_ptr<Follower<Exact>> lower;
    if (below) lower = std::make_unique<Follower<Exact>>(*below);
    files.push_back(std::make_unique<RecordFile<Gram>>(dir));
    double unigram_weight = 0;
    auto put = [&](const uint32_t* words, double p) {
      Exact e;
      Gram g;
      std::copy(words, words + kMaxNgram, e.words), std::copy(words, words + kMaxNgram, g.words);
      e.p = p;
      g.probability = p > 0 ? static_cast<float>(std::log10(p)) : kNever;
      if (const Weighed* b = backoffs.find(words, n)) g.backoff = static_cast<float>(std::log10(b->weight));
      exact->write(&e, 1), files.back()->write(&g, 1);
    };
    bool special_done = n > 1, unknown_counts = false;
    auto put_special = [&](bool unknown_too) {  // words without counts, before the first that has some
      uint32_t unknown[kMaxNgram] = {kUnknownWord}, begin[kMaxNgram] = {kBeginWord};
      if (unknown_too) put(unknown, unigram_weight * uniform);
      put(begin, 0);
      special_done = true;
    };
    grams[n - 1].finish([&](const Weighed& w) {
      unigram_weight = w.weight;
      if (!special_done && w.words[0] > kBeginWord) put_special(!unknown_counts);
      unknown_counts |= w.words[0] == kUnknownWord;
      const Exact* shorter = lower ? lower->find(w.words, n - 1) : nullptr;
      if (lower && !shorter) fail("[ngram] a gram without its suffix");
      put(w.words, w.u + w.weight * (shorter ? shorter->p : uniform));
    });
    totals.grams.push_back(static_cast<int64_t>(files.back()->size()));
    below = std::move(exact);
  }
  write_ngram_file(out, N, vocabulary, files);
  return totals;
}

}  // namespace puyu
