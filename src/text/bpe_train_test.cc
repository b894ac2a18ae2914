#include "text/bpe_train.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "text/bpe_words.h"
#include "text/text_testing.h"
#include "text/tokenizer_impl.h"

namespace puyu {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text) {
  Words out;
  each_word(text, [&](std::string_view w) { out.emplace_back(w); });
  return out;
}

TEST(BpeWords, Cuts) {
  EXPECT_EQ(words_of("the cat, 12"), (Words{"the", " cat", ",", " ", "1", "2"}));
  EXPECT_EQ(words_of("if x:\n    y += 1\n"), (Words{"if", " x", ":", "\n", "    ", "y", " +=", " ", "1", "\n"}));
  EXPECT_EQ(words_of("我用Python写，好。"), (Words{"我用", "Python", "写", "，", "好", "。"}));
  EXPECT_EQ(words_of("  a \t\tb"), (Words{"  ", "a", " ", "\t\t", "b"}));
  EXPECT_EQ(words_of("a\xFF"
                     "b\xE2\x96\x81"
                     "c\x01"),
            (Words{"a", "b", "c"}));
  EXPECT_EQ(words_of(std::string(100, 'x')), (Words{std::string(64, 'x'), std::string(36, 'x')}));
  EXPECT_EQ(words_of(""), Words{});
}

std::vector<std::string> documents(int n, uint64_t seed) {
  std::vector<std::string> out;
  Rng rng(seed);
  while (n-- > 0) out.push_back(random_text(rng, 400));
  return out;
}

Tokenizer train(const std::vector<std::string>& docs, const BpeTrainOptions& o) {
  size_t i = 0;
  return train_bpe(o, [&](std::string& text) {
    if (i == docs.size()) return false;
    text = docs[i++];
    return true;
  });
}

BpeTrainOptions small_options() {
  BpeTrainOptions o;
  o.vocab_size = 1000;
  o.character_coverage = 0.97;
  return o;
}

// Every step counts every pair anew: slow and plainly right. Ties go to the pair whose pieces are older.
std::vector<std::string> naive_merges(const std::vector<std::string>& docs, std::vector<std::string> pieces,
                                      size_t size, const BpeTrainOptions& o) {
  std::map<std::string, int> id;
  for (size_t i = 0; i < pieces.size(); ++i) id[pieces[i]] = static_cast<int>(i);
  std::map<std::vector<int>, int64_t> words;
  for (const auto& d : docs)
    for (const auto& w : words_of(d)) {
      std::vector<int> run;
      char32_t c = 0;
      for (size_t i = 0, n = 0; i < w.size(); i += n) {
        n = decode_utf8(w, i, c);
        auto it = id.find(w.substr(i, n));
        if (it != id.end()) run.push_back(it->second);
        if (it == id.end()) ++words[run], run.clear();
      }
      ++words[run];
    }
  auto length = [&](int p) {
    return std::count_if(pieces[p].begin(), pieces[p].end(), [](char c) { return (c & 0xC0) != 0x80; });
  };
  while (pieces.size() < size) {
    std::map<std::pair<int, int>, int64_t> counts;
    for (const auto& [w, n] : words)
      for (size_t i = 0; i + 1 < w.size(); ++i)
        if (length(w[i]) + length(w[i + 1]) <= o.max_piece_length) counts[{w[i], w[i + 1]}] += n;
    auto best = std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) { return a.second < b.second; });
    auto [left, right] = best->first;
    std::string text = pieces[left] + pieces[right];
    if (!id.contains(text)) id[text] = static_cast<int>(pieces.size()), pieces.push_back(text);
    std::map<std::vector<int>, int64_t> joined;
    for (const auto& [w, n] : words) {
      std::vector<int> out;
      for (size_t i = 0; i < w.size(); ++i)
        if (i + 1 < w.size() && w[i] == left && w[i + 1] == right)
          out.push_back(id[text]), ++i;
        else
          out.push_back(w[i]);
      joined[out] += n;
    }
    words = std::move(joined);
  }
  return pieces;
}

TEST(BpeTrain, LearnsWhatTheNaiveTrainerLearns) {
  const auto docs = documents(200, 1);
  for (int max_length : {16, 3}) {
    BpeTrainOptions o = small_options();
    o.max_piece_length = max_length;
    o.vocab_size = max_length == 16 ? 650 : 600;
    Tokenizer t = train(docs, o);
    std::vector<std::string> got, characters;
    for (int id = 259; id < o.vocab_size - 7; ++id) got.push_back(t.decode(std::vector<int32_t>{id}));
    for (const auto& p : got) {
      char32_t c = 0;
      if (decode_utf8(p, 0, c) == p.size()) characters.push_back(p);
    }
    EXPECT_EQ(got, naive_merges(docs, characters, got.size(), o));
  }
}

TEST(BpeTrain, DependsOnTheTextOnly) {
  auto docs = documents(300, 2);
  const int threads = num_threads();
  set_num_threads(1);
  const uint64_t want = train(docs, small_options()).fingerprint();
  set_num_threads(3);
  EXPECT_EQ(train(docs, small_options()).fingerprint(), want);
  std::ranges::reverse(docs);
  EXPECT_EQ(train(docs, small_options()).fingerprint(), want);
  docs.pop_back();
  EXPECT_NE(train(docs, small_options()).fingerprint(), want);
  set_num_threads(threads);
}

TEST(BpeTrain, PiecesKeepTheRules) {
  Tokenizer t = train(documents(300, 3), small_options());
  std::set<std::string> seen;
  for (const Piece& p : t.impl().vocabulary.pieces) {
    EXPECT_TRUE(seen.insert(p.text).second) << p.text;
    if (p.kind != PieceKind::kNormal) continue;
    const std::string text = with_spaces(p.text);
    EXPECT_EQ(words_of(text), Words{text});  // a piece lies inside one word
    EXPECT_TRUE(valid_utf8(text));
  }
}

TEST(BpeTrain, CoverageDecidesWhichCharactersGetPieces) {
  auto docs = documents(300, 4);
  docs.insert(docs.end(), 500, "天地玄黄");
  docs.push_back("鑫");
  Tokenizer t = train(docs, small_options());
  EXPECT_EQ(t.encode("鑫").size(), 3u);
  EXPECT_EQ(t.encode("天地玄黄").size(), 1u);
  EXPECT_EQ(t.decode(t.encode("鑫")), "鑫");
}

TEST(BpeTrain, SaysWhatIsWrong) {
  auto says = [](const BpeTrainOptions& o, const std::vector<std::string>& docs, const std::string& what) {
    try {
      train(docs, o);
      ADD_FAILURE() << "no error: " << what;
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what(); }
  };
  BpeTrainOptions o;
  says(o, {}, "expected text");
  says(o, {"a b c"}, "has only");
  o.vocab_size = 100;
  says(o, {"a"}, "vocab_size: expected 512");
  o = {};
  o.character_coverage = 1.5;
  says(o, {"a"}, "character_coverage");
  o = {};
  o.vocab_size = 600;
  o.character_coverage = 1;
  std::string many;
  for (char32_t c = 0x4E00; c < 0x4E00 + 600; ++c) append_utf8(many, c);
  says(o, {many}, "too small for the");
}

}  // namespace
}  // namespace puyu
