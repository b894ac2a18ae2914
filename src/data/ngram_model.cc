#include "data/ngram_model.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "data/ascii.h"
#include "data/ngram_file.h"
#include "data/words.h"

namespace puyu {
namespace {

// What a reader of a file of grams needs of the next order: where the children of each gram begin.
class ChildCounter {
 public:
  explicit ChildCounter(RecordFile<Gram>* longer) : longer_(longer) {
    if (longer_) longer_->rewind(), more_ = longer_->read(at_);
  }
  // The number of longer grams before those that end in these n words. Calls come in ascending order.
  uint64_t before(const Gram& g, int n) {
    while (more_ && std::lexicographical_compare(at_.words, at_.words + n, g.words, g.words + n))
      more_ = longer_->read(at_), ++count_;
    return count_;
  }

 private:
  RecordFile<Gram>* longer_;
  Gram at_{};
  bool more_ = false;
  uint64_t count_ = 0;
};

}  // namespace

uint64_t ngram_word_hash(std::string_view lower) { return hash64(lower); }

void for_each_sentence(std::string_view text, const std::function<void(const std::vector<std::string>&)>& fn) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    words.clear();
    for (const Word& w : split_words(text.substr(at, end - at))) words.push_back(lower_ascii(w.text));
    if (!words.empty()) fn(words);
    at = end + 1;
  }
}

uint32_t Vocabulary::number(uint64_t hash) const {
  auto it = std::lower_bound(hashes.begin(), hashes.end(), hash);
  return it != hashes.end() && *it == hash ? kFirstWord + static_cast<uint32_t>(it - hashes.begin()) : kUnknownWord;
}

void write_ngram_file(const std::string& out, int order, const Vocabulary& v,
                      std::vector<std::unique_ptr<RecordFile<Gram>>>& grams) {
  SealedWriter file(out, kNgramMagic, 1);
  file.write_values(v.hashes.data(), v.hashes.size());
  uint64_t text_bytes = 0;
  for (const std::string& t : v.texts) text_bytes += t.size(), file.write_values(&text_bytes, 1);
  for (const std::string& t : v.texts) file.write(t);
  file.pad();
  const uint64_t unigrams = kFirstWord + v.hashes.size();
  for (int n = 1; n <= order; ++n) {
    uint64_t count = n == 1 ? unigrams : grams[n - 1]->size();
    if (count > UINT32_MAX) fail("[ngram] ", count, " grams of ", n, " words; at most ", UINT32_MAX, " fit the file");
    file.write_values(&count, 1);
  }
  for (int n = 1; n <= order; ++n) {
    RecordFile<Gram>& in = *grams[n - 1];
    ChildCounter children(n < order ? grams[n].get() : nullptr);
    in.rewind();
    Gram g;
    uint32_t next = 0;                    // unigrams: the next word's number
    auto missing = [&](uint32_t until) {  // words without a unigram: none, but in foreign ARPA files
      for (; next < until; ++next) {
        Gram empty;
        empty.words[0] = next;
        GramNode node{next, kNever, 0, static_cast<uint32_t>(children.before(empty, 1))};
        file.write_values(&node, 1);
      }
    };
    while (in.read(g)) {
      if (n == 1) missing(g.words[0]), next = g.words[0] + 1;
      if (n < order) {
        GramNode node{g.words[n - 1], g.probability, g.backoff, static_cast<uint32_t>(children.before(g, n))};
        file.write_values(&node, 1);
      } else {
        GramLeaf leaf{g.words[n - 1], g.probability};
        file.write_values(&leaf, 1);
      }
    }
    if (n == 1) missing(static_cast<uint32_t>(unigrams));
  }
  file.commit({static_cast<uint64_t>(order), v.hashes.size(), text_bytes, 0});
}

NgramModel::NgramModel(const std::string& path) : file_(path, kNgramMagic, 1, "puyu data train-ngram") {
  uint64_t order = file_.field(0), words = file_.field(1), text = file_.field(2);
  std::string_view body = file_.body();
  if (order < 2 || order > kMaxNgram || words > body.size() / 16 || words > UINT32_MAX - kFirstWord ||
      text > body.size())
    file_.damaged("its header is impossible");
  order_ = static_cast<int>(order), words_ = static_cast<uint32_t>(words);
  uint64_t at = words * 16 + (text + 7) / 8 * 8;
  if (at + order * 8 > body.size()) file_.damaged("its parts do not add up to its size");
  hashes_ = body.data(), text_ends_ = body.data() + words * 8, text_ = body.substr(words * 16, text);
  for (uint64_t w = 0, last = 0; w < words; ++w) {
    auto end = load_at<uint64_t>(text_ends_ + w * 8);
    if (end < last || end > text) file_.damaged("a word ends outside the text");
    last = end;
  }
  const char* counts = body.data() + at;
  at += order * 8;
  for (uint64_t n = 0; n < order; ++n) {
    counts_[n] = load_at<uint64_t>(counts + n * 8);
    uint64_t size = n + 1 < order ? sizeof(GramNode) : sizeof(GramLeaf);
    if (counts_[n] > (body.size() - at) / size) file_.damaged("its parts do not add up to its size");
    grams_[n] = body.data() + at;
    at += counts_[n] * size;
  }
  if (at != body.size() || counts_[0] != kFirstWord + words) file_.damaged("its parts do not add up to its size");
}

uint32_t NgramModel::word(std::string_view text) const {
  uint64_t hash = ngram_word_hash(text);
  uint32_t low = 0, high = words_;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (load_at<uint64_t>(hashes_ + uint64_t{middle} * 8) < hash)
      low = middle + 1;
    else
      high = middle;
  }
  return low < words_ && load_at<uint64_t>(hashes_ + uint64_t{low} * 8) == hash ? kFirstWord + low : kUnknownWord;
}

std::string_view NgramModel::word_text(uint32_t word) const {
  static constexpr std::string_view kSpecial[] = {"", "<unk>", "<s>", "</s>"};
  if (word < kFirstWord) return kSpecial[word];
  uint64_t w = word - kFirstWord, from = w ? load_at<uint64_t>(text_ends_ + (w - 1) * 8) : 0;
  return text_.substr(from, load_at<uint64_t>(text_ends_ + w * 8) - from);
}

// The child of gram `parent` of `order` words by the word before it.
bool NgramModel::find_child(int order, uint64_t parent, uint32_t word, uint64_t& child) const {
  auto begin_of = [&](uint64_t g) {
    return g < counts_[order - 1] ? load_at<GramNode>(grams_[order - 1] + g * sizeof(GramNode)).children
                                  : counts_[order];
  };
  const size_t size = order + 1 < order_ ? sizeof(GramNode) : sizeof(GramLeaf);
  uint64_t low = begin_of(parent), high = std::min<uint64_t>(begin_of(parent + 1), counts_[order]);
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    auto w = load_at<uint32_t>(grams_[order] + middle * size);
    if (w == word) return child = middle, true;
    if (w < word)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

NgramModel::Walk NgramModel::walk(uint32_t word, const uint32_t* context, int n) const {
  Walk out;
  uint64_t at = word;
  for (int order = 1;; ++order) {
    out.length = order;
    if (order == order_) {
      out.probability = load_at<GramLeaf>(grams_[order - 1] + at * sizeof(GramLeaf)).probability;
      return out;
    }
    auto node = load_at<GramNode>(grams_[order - 1] + at * sizeof(GramNode));
    out.probability = node.probability, out.backoff[order - 1] = node.backoff;
    if (order > n || !find_child(order, at, context[order - 1], at)) return out;
  }
}

double NgramModel::log10(uint32_t word, const std::vector<uint32_t>& context) const {
  const int n = std::min(static_cast<int>(context.size()), order_ - 1);
  Walk w = walk(word, context.data(), n);
  double p = w.probability;
  if (w.length > n) return p;
  Walk c = walk(context[0], context.data() + 1, n - 1);
  for (int length = w.length; length <= std::min(c.length, n); ++length) p += c.backoff[length - 1];
  return p;
}

double TextScore::perplexity() const {
  auto n = static_cast<double>(words + sentences);
  return n > 0 ? std::pow(10.0, -log10 / n) : 0;
}

TextScore NgramModel::score(std::string_view text) const {
  TextScore out;
  uint32_t context[kMaxNgram];
  for_each_sentence(text, [&](const std::vector<std::string>& words) {
    int n = 1;
    context[0] = kBeginWord;
    Walk before = walk(kBeginWord, nullptr, 0);
    auto add = [&](uint32_t word) {
      Walk w = walk(word, context, std::min(n, order_ - 1));
      out.log10 += w.probability;
      for (int length = w.length; length <= std::min({before.length, n, order_ - 1}); ++length)
        out.log10 += before.backoff[length - 1];
      std::copy_backward(context, context + kMaxNgram - 1, context + kMaxNgram);
      context[0] = word, n = std::min(n + 1, kMaxNgram), before = w;
    };
    for (const std::string& text_of : words) {
      uint32_t id = word(text_of);
      out.unknown += id == kUnknownWord;
      add(id);
    }
    add(kEndWord);
    out.words += static_cast<int64_t>(words.size()), ++out.sentences;
  });
  return out;
}

void NgramModel::each_below(int order, uint64_t from, uint64_t to, uint32_t* reversed, const GramSink& fn) const {
  for (uint64_t g = from; g < to; ++g) {
    uint32_t words[kMaxNgram];
    GramNode node{};
    if (order < order_)
      node = load_at<GramNode>(grams_[order - 1] + g * sizeof(GramNode));
    else
      std::memcpy(&node, grams_[order - 1] + g * sizeof(GramLeaf), sizeof(GramLeaf));
    reversed[order - 1] = node.word;
    std::reverse_copy(reversed, reversed + order, words);
    fn(order, words, node.probability, node.backoff);
  }
}

// By order, so the reversed words of a gram's parents are found by walking along with it.
void NgramModel::each_gram(const GramSink& fn) const {
  for (int order = 1; order <= order_; ++order) {
    uint64_t at[kMaxNgram] = {};  // the parents of the gram that is next
    uint32_t reversed[kMaxNgram] = {};
    for (uint64_t g = 0; g < counts_[order - 1]; ++g) {
      uint64_t child = g;
      for (int n = order - 1; n >= 1; --n) {  // a parent is the last gram whose children begin at or before the child
        auto begin_of = [&](uint64_t p) {
          return p < counts_[n - 1] ? load_at<GramNode>(grams_[n - 1] + p * sizeof(GramNode)).children : counts_[n];
        };
        while (at[n - 1] + 1 < counts_[n - 1] && begin_of(at[n - 1] + 1) <= child) ++at[n - 1];
        reversed[n - 1] = load_at<uint32_t>(grams_[n - 1] + at[n - 1] * sizeof(GramNode));
        child = at[n - 1];
      }
      each_below(order, g, g + 1, reversed, fn);
    }
  }
}

}  // namespace puyu
