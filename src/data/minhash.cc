#include "data/minhash.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>

#include "base/error.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "data/words.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr size_t kMostNgram = 32;

struct Permutations {
  std::array<uint32_t, kPermutations> a, b;
  Permutations() {
    Rng rng(128);
    for (int i = 0; i < kPermutations; ++i) {
      a[i] = static_cast<uint32_t>(rng.next() >> 32) | 1;
      b[i] = static_cast<uint32_t>(rng.next() >> 32);
    }
  }
};

// The fastest variant, or the one named by PUYU_ISA as for the kernels.
TakeMinima choose_minima() {
  std::vector<MinimaVariant> variants = minima_variants();
  const char* env = std::getenv("PUYU_ISA");
  for (const MinimaVariant& v : variants)
    if (env && std::string(env == std::string("base") ? "plain" : env) == v.name) return v.run;
  return variants.back().run;
}

enum CharClass : uint8_t { kSeparator, kWordChar, kIdeograph };

// What split_words asks of a character, for the first 65,536 of them.
struct CharClasses {
  std::vector<uint8_t> of;
  CharClasses() : of(65536) {
    for (char32_t c = 0; c < 65536; ++c) of[c] = classify(c);
  }
  static uint8_t classify(char32_t c) {
    if (is_han(c)) return kIdeograph;
    return c == '_' || is_letter(c) || is_digit(c) ? kWordChar : kSeparator;
  }
  uint8_t operator()(char32_t c) const { return c < of.size() ? of[c] : classify(c); }
};

// A word's characters as a polynomial, a shingle's tokens as another one, both in odd factors mod 2^64; the shingle's
// is rolled: the token that leaves is subtracted. mix64 makes hashes of what would otherwise be near one another.
constexpr uint64_t kChar = 0x9e3779b97f4a7c15ull, kToken = 0xd1342543de82ef95ull;

// Calls sink(x, n) with blocks of shingle hashes.
template <class Sink>
class Shingler {
 public:
  Shingler(int ngram, Sink sink) : n_(static_cast<size_t>(ngram)), sink_(sink) {
    for (size_t i = 0; i < n_; ++i) leaving_ *= kToken;
  }
  void token(uint64_t hash) {
    rolled_ = rolled_ * kToken + hash;
    if (tokens_ >= n_) rolled_ -= leaving_ * window_[at_];
    window_[at_] = hash;
    at_ = at_ + 1 == n_ ? 0 : at_ + 1;
    if (++tokens_ >= n_) emit();
  }
  void finish() {
    if (tokens_ > 0 && tokens_ < n_) emit();
    sink_(block_.data(), filled_);
  }

 private:
  void emit() {
    block_[filled_++] = static_cast<uint32_t>(mix64(rolled_) >> 32);
    if (filled_ < block_.size()) return;
    sink_(block_.data(), filled_);
    filled_ = 0;
  }
  size_t n_, tokens_ = 0, at_ = 0, filled_ = 0;
  uint64_t rolled_ = 0, leaving_ = 1;
  std::array<uint64_t, kMostNgram> window_{};
  std::array<uint32_t, 512> block_;
  Sink sink_;
};

template <class Sink>
void each_shingle_block(std::string_view s, int ngram, Sink sink) {
  if (ngram < 1 || ngram > static_cast<int>(kMostNgram))
    fail("[dedup] ngram must be between 1 and ", kMostNgram, ", got ", ngram);
  static const CharClasses kClass;
  Shingler shingler(ngram, sink);
  uint64_t word = 0;  // 0: no word is open
  auto end_word = [&] {
    if (word) shingler.token(mix64(word));
    word = 0;
  };
  auto add = [&](uint64_t c) { word = word * kChar + c + 1; };
  const auto* bytes = reinterpret_cast<const unsigned char*>(s.data());
  for (size_t i = 0; i < s.size();) {
    char32_t c = bytes[i];
    if (c < 0x80) {
      if (kClass.of[c] == kWordChar)
        add(c - 'A' < 26u ? c + 32 : c);
      else
        end_word();
      ++i;
      continue;
    }
    size_t n = decode_utf8(s, i, c);
    uint8_t kind = n ? kClass(c) : static_cast<uint8_t>(kSeparator);
    i += n ? n : 1;
    if (kind == kWordChar) {
      add(c);
      continue;
    }
    end_word();
    if (kind == kIdeograph) shingler.token(mix64(c + 1));
  }
  end_word();
  shingler.finish();
}

std::set<std::string> shingle_texts(std::string_view text, int ngram) {
  std::vector<Word> words = split_words(text);
  size_t n = std::min<size_t>(static_cast<size_t>(ngram), words.size());
  std::set<std::string> out;
  for (size_t i = 0; n > 0 && i + n <= words.size(); ++i) {
    std::string shingle;
    for (size_t k = 0; k < n; ++k)
      for (char c : std::string(words[i + k].text) + ' ')
        shingle += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    out.insert(std::move(shingle));
  }
  return out;
}

}  // namespace

Signature minhash(std::string_view text, int ngram) {
  static const Permutations kP;
  static const TakeMinima take_minima = choose_minima();
  Signature s;
  s.fill(0xffffffffu);
  each_shingle_block(text, ngram,
                     [&](const uint32_t* x, size_t n) { take_minima(kP.a.data(), kP.b.data(), x, n, s.data()); });
  return s;
}

std::vector<uint32_t> shingle_hashes(std::string_view text, int ngram) {
  std::vector<uint32_t> out;
  each_shingle_block(text, ngram, [&](const uint32_t* x, size_t n) { out.insert(out.end(), x, x + n); });
  return out;
}

double similarity(const Signature& a, const Signature& b) {
  int same = 0;
  for (int i = 0; i < kPermutations; ++i) same += a[i] == b[i];
  return same / static_cast<double>(kPermutations);
}

double exact_jaccard(std::string_view a, std::string_view b, int ngram) {
  std::set<std::string> x = shingle_texts(a, ngram), y = shingle_texts(b, ngram);
  size_t both = 0;
  for (const std::string& shingle : x) both += y.count(shingle);
  size_t all = x.size() + y.size() - both;
  return all ? static_cast<double>(both) / static_cast<double>(all) : 1.0;
}

}  // namespace puyu
