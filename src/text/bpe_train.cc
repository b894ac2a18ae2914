#include "text/bpe_train.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"
#include "text/bpe_words.h"
#include "text/merge_learner.h"
#include "text/tokenizer_impl.h"
#include "text/tokenizer_json.h"

namespace puyu {
namespace {

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c & 0x80) == 0; });
}

// The characters that get a piece: of ASCII the printable ones, tab and newline always, then the most frequent ones.
std::vector<char32_t> choose_characters(const CountedWords& words, double coverage, bool ascii) {
  std::map<char32_t, int64_t> counts;
  if (ascii) {
    for (char32_t c = 0x20; c < 0x7F; ++c) counts[c] = 0;
    counts['\n'] = counts['\t'] = 0;
  }
  int64_t total = 0;
  words.each([&](std::string_view word, uint64_t n) {
    char32_t c = 0;
    for (size_t i = 0; i < word.size();) {
      i += std::max<size_t>(decode_utf8(word, i, c), 1);
      if (c < 0x80 && !ascii) continue;
      counts[c] += static_cast<int64_t>(n), total += static_cast<int64_t>(n);
    }
  });
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

void check_options(const BpeTrainOptions& o) {
  if (o.vocab_size < 512 || o.vocab_size > kMaxPieces)
    fail("[tokenizer] vocab_size: expected 512 to ", kMaxPieces, ", got ", o.vocab_size);
  if (!(o.character_coverage > 0 && o.character_coverage <= 1))
    fail("[tokenizer] character_coverage: expected a share in (0, 1], got ", o.character_coverage);
  if (o.max_piece_length < 1 || o.max_piece_length > static_cast<int>(kMaxWord))
    fail("[tokenizer] max_piece_length: expected 1 to ", kMaxWord, ", got ", o.max_piece_length);
  if (o.min_count < 1) fail("[tokenizer] min_count: expected at least 1, got ", o.min_count);
  if (o.reserved < 0 || o.ranks_pieces < 0) fail("[tokenizer] reserved and ranks_pieces: expected no negative number");
  if (o.ranks.empty() != (o.ranks_pieces == 0))
    fail("[tokenizer] ranks and ranks_pieces: give both, a file and how many of its pieces to take, or neither");
  if (o.round_to < 1 || o.round_to > 65536) fail("[tokenizer] round_to: expected 1 to 65536, got ", o.round_to);
  if (o.memory_mb < 1) fail("[tokenizer] memory_mb: expected at least 1, got ", o.memory_mb);
}

// The vocabulary's parts, in the order of their ids.
struct Layout {
  std::vector<std::string> ranked;  // pieces of the ranks file
  std::vector<std::string> learnt;  // characters and merges
  int reserved = 0;
};

Vocabulary make_vocabulary(const Layout& l, bool byte_fallback) {
  Vocabulary v;
  v.lossless = byte_fallback;
  v.byte_fallback = byte_fallback;
  v.pieces = {{"<unk>", 0, PieceKind::kUnknown}, {"<s>", 0, PieceKind::kControl}, {"</s>", 0, PieceKind::kControl}};
  if (byte_fallback)
    for (int b = 0; b < 256; ++b) v.pieces.push_back({byte_piece(b), 0, PieceKind::kByte});
  int rank = 0;
  for (const auto* part : {&l.ranked, &l.learnt})
    for (const std::string& text : *part)
      v.pieces.push_back({with_space_marks(text), -static_cast<float>(rank++), PieceKind::kNormal});
  for (int i = 0; i < l.reserved; ++i) v.pieces.push_back({cat("[UNUSED_TOKEN_", i, "]"), 0, PieceKind::kControl});
  for (std::string_view name : kChatSpecials) v.pieces.push_back({std::string(name), 0, PieceKind::kControl});
  for (size_t id = 0; id < v.pieces.size(); ++id)
    if (v.pieces[id].kind == PieceKind::kControl) v.specials.emplace_back(id, v.pieces[id].text);
  check_vocabulary(v, "trained vocabulary");
  return v;
}

std::vector<std::string> learn(const BpeTrainOptions& o, CountedWords words, size_t fixed) {
  const std::vector<char32_t> characters = choose_characters(words, o.character_coverage, o.ranks.empty());
  const size_t room = static_cast<size_t>(o.vocab_size) - std::min(fixed, static_cast<size_t>(o.vocab_size));
  if (characters.size() > room)
    fail("[tokenizer] vocab_size ", o.vocab_size, " is too small for the ", characters.size(),
         " characters of the text; lower character_coverage (", o.character_coverage, ") or raise vocab_size to ",
         fixed + characters.size(), " at least");
  const int64_t distinct = words.distinct;
  MergeOptions options{o.max_piece_length, o.min_count};
  for (const Piece& p : make_vocabulary({{}, {}, o.reserved + o.round_to}, true).pieces)
    options.taken.insert(with_spaces(p.text));
  std::vector<std::string> learnt = MergeLearner(std::move(words), characters, options).learn(room);
  if (learnt.size() < room)
    fail("[tokenizer] the text has only ", fixed + learnt.size(), " pieces that occur ", o.min_count,
         " times; set vocab_size to that or give more text");
  log_info("tokenizer: ", distinct, " distinct words, ", characters.size(), " characters, ",
           learnt.size() - characters.size(), " merges");
  return learnt;
}

}  // namespace

std::vector<std::string> ascii_pieces(std::string_view ranks, const std::string& where, size_t n) {
  const Vocabulary v = parse_tiktoken_cl100k(ranks, where);
  std::vector<std::string> out;
  for (const Piece& p : v.pieces) {
    if (out.size() == n) break;
    if (p.kind == PieceKind::kNormal && is_ascii(p.text)) out.push_back(p.text);
  }
  if (out.size() < n) fail("[tokenizer] ", where, ": only ", out.size(), " pieces are plain ASCII, ", n, " asked for");
  return out;
}

Tokenizer train_bpe(const BpeTrainOptions& o, const std::function<bool(std::string&)>& next_document) {
  check_options(o);
  Layout layout;
  if (!o.ranks.empty()) layout.ranked = ascii_pieces(read_file(o.ranks), o.ranks, static_cast<size_t>(o.ranks_pieces));
  WordCutter cut = word_cutter(o.pretokenizer, o.split_digits);
  if (!o.ranks.empty())  // English is settled
    cut = [every = std::move(cut)](std::string_view text, const WordSink& word) {
      every(text, [&](std::string_view w) {
        if (!is_ascii(w)) word(w);
      });
    };
  CountedWords words = count_words(next_document, cut, o.memory_mb << 20);
  if (words.distinct == 0) fail("[tokenizer] expected text to train on, got none; check 'inputs'");
  if (words.kept_one_of > 1)
    log_warn("tokenizer: the distinct words need more than memory_mb = ", o.memory_mb, "; one of ", words.kept_one_of,
             " is used, chosen by hash");
  layout.reserved = o.reserved + (o.round_to - o.vocab_size % o.round_to) % o.round_to;
  const size_t fixed = 3 + (o.byte_fallback ? 256 : 0) + layout.ranked.size() + static_cast<size_t>(o.reserved) +
                       std::size(kChatSpecials);
  layout.learnt = learn(o, std::move(words), fixed);
  return make_tokenizer(make_vocabulary(layout, o.byte_fallback));
}

}  // namespace puyu
