#include "text/bpe_train.h"

#include <zlib.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "base/temp_dir_test_util.h"
#include "text/bpe_words.h"
#include "text/text_testing.h"
#include "text/tokenizer_impl.h"
#include "text/word_counts.h"

namespace puyu {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text, const std::string& pretokenizer = "script", bool split_digits = true) {
  Words out;
  word_cutter(pretokenizer, split_digits)(text, [&](std::string_view w) { out.emplace_back(w); });
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

TEST(BpeWords, CutsByPatternOrLine) {
  EXPECT_EQ(words_of("I'll pay 12345, ok?\n\nbye", "cl100k", false),
            (Words{"I", "'ll", " pay", " ", "123", "45", ",", " ok", "?\n\n", "bye"}));
  EXPECT_EQ(words_of("a 123", "cl100k", true), (Words{"a", " ", "1", "2", "3"}));
  EXPECT_EQ(words_of("two words, 12\nthen", "none", false), (Words{"two words, 12", "\n", "then"}));
  EXPECT_EQ(words_of("ab12\xFF"
                     "c\n",
                     "none", true),
            (Words{"ab", "1", "2", "c", "\n"}));
  EXPECT_EQ(words_of(std::string(100, 'x'), "none"), (Words{std::string(64, 'x'), std::string(36, 'x')}));
  EXPECT_THROW(word_cutter("gpt5", true), Error);
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
    for (const auto& w : words_of(d, o.pretokenizer, o.split_digits)) {
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
    std::erase_if(counts, [&](const auto& c) {  // what the special tokens are called
      const std::string text = pieces[c.first.first] + pieces[c.first.second];
      return text == "<s>" || text == "</s>" || text == "<0x41>" || text == "<|im_start|>";
    });
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
  for (auto [max_length, pretokenizer] : {std::pair{16, "script"}, {3, "script"}, {16, "cl100k"}, {16, "none"}}) {
    BpeTrainOptions o = small_options();
    o.max_piece_length = max_length;
    o.pretokenizer = pretokenizer;
    o.split_digits = max_length == 3;
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

TEST(WordCounts, AreTheWordsOfTheText) {
  const auto docs = documents(300, 5);
  std::map<std::string, uint64_t> want;
  for (const auto& d : docs)
    for (const auto& w : words_of(d)) ++want[w];
  auto count = [&](bool backwards, int64_t memory) {
    size_t i = 0;
    return count_words(
        [&](std::string& text) {
          if (i == docs.size()) return false;
          text = docs[backwards ? docs.size() - 1 - i : i];
          return ++i, true;
        },
        each_word, memory);
  };
  auto as_map = [](const CountedWords& c) {
    std::map<std::string, uint64_t> out;
    c.each([&](std::string_view w, uint64_t n) { EXPECT_TRUE(out.emplace(w, n).second); });
    return out;
  };
  const CountedWords all = count(false, 1 << 30);
  EXPECT_EQ(as_map(all), want);
  EXPECT_EQ(all.kept_one_of, 1);
  EXPECT_EQ(all.distinct, static_cast<int64_t>(want.size()));
  const CountedWords some = count(false, 10000);  // too little memory: a share, yet each with its full count
  EXPECT_GT(some.kept_one_of, 1);
  EXPECT_GT(some.distinct, 0);
  EXPECT_LT(some.distinct, all.distinct);
  for (const auto& [w, n] : as_map(some)) EXPECT_EQ(n, want[w]) << w;
  EXPECT_EQ(as_map(count(true, 10000)), as_map(some));
  EXPECT_THROW(count(false, 1), Error);
}

TEST(BpeTrain, LittleMemoryGivesTheSameForAnyOrder) {
  auto docs = documents(2500, 6);
  BpeTrainOptions o = small_options();
  o.vocab_size = 600;
  const uint64_t whole = train(docs, o).fingerprint();
  o.memory_mb = 1;
  const uint64_t want = train(docs, o).fingerprint();
  EXPECT_NE(want, whole);
  std::ranges::reverse(docs);
  EXPECT_EQ(train(docs, o).fingerprint(), want);
}

TEST(BpeTrain, WithoutByteFallback) {
  BpeTrainOptions o = small_options();
  o.byte_fallback = false;
  o.vocab_size = 700;
  const Tokenizer t = train(documents(300, 7), o);
  EXPECT_EQ(t.vocab_size(), 700);
  EXPECT_EQ(t.encode("\u9F0E"), std::vector<int32_t>{0});
  EXPECT_EQ(t.decode(t.encode("the")), "the");
}

TEST(BpeTrain, ReservedTokensAndRounding) {
  BpeTrainOptions o = small_options();
  o.vocab_size = 700, o.reserved = 5, o.round_to = 128;
  const Tokenizer t = train(documents(300, 8), o);
  EXPECT_EQ(t.vocab_size(), 768);
  EXPECT_EQ(t.special("<|im_start|>"), 767);
  EXPECT_EQ(t.special("[UNUSED_TOKEN_72]"), 760);  // 5 asked for, 68 to round up
  EXPECT_THROW(t.special("[UNUSED_TOKEN_73]"), Error);
  for (int32_t id : t.encode("[UNUSED_TOKEN_3]")) EXPECT_FALSE(t.is_special(id));
}

std::string gunzip(const std::string& path) {
  std::string out(4 << 20, 0);
  gzFile f = gzopen(path.c_str(), "rb");
  out.resize(static_cast<size_t>(std::max(0, gzread(f, out.data(), static_cast<unsigned>(out.size())))));
  gzclose(f);
  return out;
}

// InternLM2's English pieces are cl100k's ASCII pieces up to rank 62,847, as its model shows.
TEST(BpeTrain, RecipeOfInternLm2) {
  const std::string ranks = test_data("tokenizer/cl100k_base.tiktoken.gz");
  SKIP_WITHOUT(ranks);
  test::TempDir dir;
  write_file(dir / "cl100k_base.tiktoken", gunzip(ranks));
  BpeTrainOptions o;
  o.ranks = dir / "cl100k_base.tiktoken", o.ranks_pieces = 60094;
  o.vocab_size = 61000, o.reserved = 140, o.round_to = 256, o.min_count = 1;
  std::vector<std::string> docs(
      50, "你好，世界！天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。寒来暑往，秋收冬藏。the English is settled");
  for (char32_t c = 0x4E00; c < 0x4E00 + 400; ++c) append_utf8(docs[0], c), append_utf8(docs[0], c + 1);
  o.character_coverage = 1;
  const Tokenizer t = train(docs, o);
  EXPECT_EQ(t.vocab_size(), 61184);
  EXPECT_EQ(t.encode("天地玄黄").size(), 1u);
  EXPECT_THROW(ascii_pieces(read_file(o.ranks), o.ranks, 100000), Error);
  SKIP_WITHOUT(test_data(kInternLm2Model));
  const Tokenizer real = Tokenizer::load(test_data(kInternLm2Model));
  std::set<std::string> want, got;
  for (int32_t id = 259; id <= 60352; ++id) want.insert(std::string(real.piece_bytes(id)));
  for (int32_t id = 259; id < 259 + 60094; ++id) got.insert(std::string(t.piece_bytes(id)));
  EXPECT_EQ(got, want);
  const std::string english = "The quick brown fox jumps over 1234567890 lazy dogs; it doesn't matter.\n\n    return x";
  auto texts = [&](const Tokenizer& k) {
    std::vector<std::string> out;
    for (int32_t id : k.encode(english)) out.emplace_back(k.piece_bytes(id));
    return out;
  };
  EXPECT_EQ(texts(t), texts(real));
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
