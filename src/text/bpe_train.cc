#include "text/bpe_train.h"

#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"
#include "base/utf8.h"
#include "text/bpe_words.h"
#include "text/tokenizer_impl.h"

namespace puyu {
namespace {

constexpr size_t kBatchBytes = 16 << 20;  // documents that are counted at a time

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
using Counts = std::unordered_map<std::string, int64_t, TextHash, std::equal_to<>>;
using WordCounts = std::vector<std::pair<std::string, int64_t>>;  // sorted by word

void count_words(const std::vector<std::string>& documents, std::vector<Counts>& slots) {
  parallel_for(static_cast<int64_t>(slots.size()), [&](int64_t slot) {
    Counts& counts = slots[slot];
    for (size_t d = slot; d < documents.size(); d += slots.size())
      each_word(documents[d], [&](std::string_view word) {
        auto it = counts.find(word);
        if (it == counts.end()) it = counts.emplace(word, 0).first;
        ++it->second;
      });
  });
}

WordCounts count_words(const std::function<bool(std::string&)>& next_document) {
  Progress progress("count words", 0, "B");
  std::vector<Counts> slots(num_threads());
  std::vector<std::string> batch;
  size_t bytes = 0;
  for (std::string text; next_document(text);) {
    progress.add(static_cast<int64_t>(text.size()));
    bytes += text.size();
    batch.push_back(std::move(text));
    if (bytes < kBatchBytes) continue;
    count_words(batch, slots);
    batch.clear(), bytes = 0;
    if (interrupted()) fail("[tokenizer] training was interrupted; nothing was written");
  }
  count_words(batch, slots);
  for (size_t s = 1; s < slots.size(); ++s)
    for (const auto& [word, n] : slots[s]) slots[0][word] += n;
  WordCounts out(slots[0].begin(), slots[0].end());
  std::sort(out.begin(), out.end());
  return out;
}

// The characters that get a piece: printable ASCII, tab and newline always, then the most frequent ones.
std::vector<char32_t> choose_characters(const WordCounts& words, double coverage) {
  std::map<char32_t, int64_t> counts;
  for (char32_t c = 0x20; c < 0x7F; ++c) counts[c] = 0;
  counts['\n'] = counts['\t'] = 0;
  int64_t total = 0;
  for (const auto& [word, n] : words) {
    char32_t c = 0;
    for (size_t i = 0; i < word.size();) {
      i += decode_utf8(word, i, c);
      counts[c] += n, total += n;
    }
  }
  std::vector<std::pair<char32_t, int64_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(), [](auto& a, auto& b) { return a.second > b.second; });
  std::vector<char32_t> out;
  int64_t covered = 0;
  for (const auto& [c, n] : order) {
    if (c < 0x7F || static_cast<double>(covered) < coverage * static_cast<double>(total)) out.push_back(c);
    covered += n;
  }
  return out;
}

// Learns merges over the distinct words. Pair counts are kept up to date as words change; the heap may hold counts
// that have fallen since, which are put back when they come up.
class MergeLearner {
 public:
  MergeLearner(const WordCounts& words, const std::vector<char32_t>& characters, const BpeTrainOptions& options)
      : options_(options) {
    std::unordered_map<char32_t, int32_t> ids;
    for (char32_t c : characters) {
      ids[c] = static_cast<int32_t>(pieces_.size());
      append_utf8(pieces_.emplace_back(), c);
      lengths_.push_back(1);
    }
    for (const auto& [text, n] : words) add_word(text, n, ids);
    for (const auto& [key, pair] : pairs_) queue_.push({pair.count, key});
  }

  // The pieces in order: characters, then merges until there are `size` in all, or until min_count stops them.
  std::vector<std::string> learn(size_t size) {
    std::unordered_map<std::string, int32_t> ids;
    for (size_t i = 0; i < pieces_.size(); ++i) ids[pieces_[i]] = static_cast<int32_t>(i);
    Progress progress("learn merges", static_cast<int64_t>(size - pieces_.size()), "merges");
    Candidate best{};
    while (pieces_.size() < size && next(best)) {
      const auto left = static_cast<int32_t>(best.key >> 32), right = static_cast<int32_t>(best.key);
      auto [it, fresh] = ids.emplace(pieces_[left] + pieces_[right], static_cast<int32_t>(pieces_.size()));
      if (fresh) {  // else two ways to the same text: one piece
        pieces_.push_back(it->first);
        lengths_.push_back(lengths_[left] + lengths_[right]);
        progress.add(1);
        if (interrupted()) fail("[tokenizer] training was interrupted; nothing was written");
      }
      merge(left, right, it->second);
    }
    return std::move(pieces_);
  }

 private:
  struct Word {
    std::vector<int32_t> symbols;
    int64_t count;
  };
  struct Pair {
    int64_t count = 0;
    std::vector<uint32_t> words;  // where it is, or once was
  };
  struct Candidate {
    int64_t count;
    uint64_t key;
    // Most frequent first; on ties the pair whose pieces are older.
    bool operator<(const Candidate& o) const { return count != o.count ? count < o.count : key > o.key; }
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }

  void add_word(std::string_view text, int64_t n, const std::unordered_map<char32_t, int32_t>& ids) {
    Word w{{}, n};
    auto finish = [&] {
      if (w.symbols.size() < 2) return w.symbols.clear();
      for (size_t i = 0; i + 1 < w.symbols.size(); ++i) change(w.symbols[i], w.symbols[i + 1], n, words_.size());
      words_.push_back(std::move(w));
      w = {{}, n};
    };
    char32_t c = 0;
    for (size_t i = 0; i < text.size();) {
      i += decode_utf8(text, i, c);
      if (auto it = ids.find(c); it != ids.end())
        w.symbols.push_back(it->second);
      else
        finish();  // nothing joins across a character that is spelt in bytes
    }
    finish();
  }

  void change(int32_t left, int32_t right, int64_t by, size_t word) {
    if (lengths_[left] + lengths_[right] > options_.max_piece_length) return;
    Pair& p = pairs_[key_of(left, right)];
    p.count += by;
    if (by > 0 && (p.words.empty() || p.words.back() != word)) p.words.push_back(static_cast<uint32_t>(word));
  }

  bool next(Candidate& best) {
    while (!queue_.empty()) {
      best = queue_.top();
      queue_.pop();
      auto it = pairs_.find(best.key);
      const int64_t now = it == pairs_.end() ? 0 : it->second.count;
      if (now == best.count) return now >= options_.min_count;
      if (now >= options_.min_count && now < best.count) queue_.push({now, best.key});
    }
    return false;
  }

  void merge(int32_t left, int32_t right, int32_t made) {
    auto found = pairs_.find(key_of(left, right));
    const std::vector<uint32_t> where = std::move(found->second.words);
    pairs_.erase(found);
    std::vector<uint64_t> grown;
    auto grow = [&](int32_t a, int32_t b, int64_t n, size_t word) {
      change(a, b, n, word);
      grown.push_back(key_of(a, b));
    };
    for (uint32_t at : where) {
      Word& w = words_[at];
      auto& s = w.symbols;
      size_t out = 0;
      for (size_t i = 0; i < s.size(); ++i) {
        if (i + 1 == s.size() || s[i] != left || s[i + 1] != right) {
          s[out++] = s[i];
          continue;
        }
        if (out > 0) change(s[out - 1], left, -w.count, at), grow(s[out - 1], made, w.count, at);
        if (i + 2 < s.size()) change(right, s[i + 2], -w.count, at), grow(made, s[i + 2], w.count, at);
        s[out++] = made;
        ++i;
      }
      s.resize(out);
    }
    pairs_.erase(key_of(left, right));  // "aaa" counts the pair (a, a) twice, yet joins it once
    std::ranges::sort(grown);
    grown.erase(std::ranges::unique(grown).begin(), grown.end());
    for (uint64_t key : grown)
      if (auto it = pairs_.find(key); it != pairs_.end() && it->second.count >= options_.min_count)
        queue_.push({it->second.count, key});
  }

  const BpeTrainOptions& options_;
  std::vector<std::string> pieces_;
  std::vector<int> lengths_;  // in characters
  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::priority_queue<Candidate> queue_;
};

void check_options(const BpeTrainOptions& o) {
  if (o.vocab_size < 512 || o.vocab_size > kMaxPieces)
    fail("[tokenizer] vocab_size: expected 512 to ", kMaxPieces, ", got ", o.vocab_size);
  if (!(o.character_coverage > 0 && o.character_coverage <= 1))
    fail("[tokenizer] character_coverage: expected a share in (0, 1], got ", o.character_coverage);
  if (o.max_piece_length < 1 || o.max_piece_length > static_cast<int>(kMaxWord))
    fail("[tokenizer] max_piece_length: expected 1 to ", kMaxWord, ", got ", o.max_piece_length);
  if (o.min_count < 1) fail("[tokenizer] min_count: expected at least 1, got ", o.min_count);
}

Vocabulary make_vocabulary(const std::vector<std::string>& learnt) {
  Vocabulary v;
  v.lossless = true;
  v.pieces = {{"<unk>", 0, PieceKind::kUnknown}, {"<s>", 0, PieceKind::kControl}, {"</s>", 0, PieceKind::kControl}};
  for (int b = 0; b < 256; ++b) v.pieces.push_back({byte_piece(b), 0, PieceKind::kByte});
  for (size_t i = 0; i < learnt.size(); ++i)
    v.pieces.push_back({with_space_marks(learnt[i]), -static_cast<float>(i), PieceKind::kNormal});
  for (std::string_view name : kChatSpecials) v.pieces.push_back({std::string(name), 0, PieceKind::kControl});
  for (size_t id = 0; id < v.pieces.size(); ++id)
    if (v.pieces[id].kind == PieceKind::kControl) v.specials.emplace_back(id, v.pieces[id].text);
  check_vocabulary(v, "trained vocabulary");
  return v;
}

}  // namespace

Tokenizer train_bpe(const BpeTrainOptions& options, const std::function<bool(std::string&)>& next_document) {
  check_options(options);
  const WordCounts words = count_words(next_document);
  if (words.empty()) fail("[tokenizer] expected text to train on, got none; check 'inputs'");
  const std::vector<char32_t> characters = choose_characters(words, options.character_coverage);
  const size_t fixed = 3 + 256 + std::size(kChatSpecials), room = static_cast<size_t>(options.vocab_size) - fixed;
  if (characters.size() > room)
    fail("[tokenizer] vocab_size ", options.vocab_size, " is too small for the ", characters.size(),
         " characters of the text; lower character_coverage (", options.character_coverage, ") or raise vocab_size to ",
         fixed + characters.size(), " at least");
  const std::vector<std::string> learnt = MergeLearner(words, characters, options).learn(room);
  if (learnt.size() < room)
    fail("[tokenizer] the text has only ", fixed + learnt.size(), " pieces that occur ", options.min_count,
         " times; set vocab_size to that or give more text");
  log_info("tokenizer: ", words.size(), " distinct words, ", characters.size(), " characters, ",
           learnt.size() - characters.size(), " merges");
  return make_tokenizer(make_vocabulary(learnt));
}

}  // namespace puyu
