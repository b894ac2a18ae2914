// Our encoder against the SentencePiece library: same ids for every text.
#include "text/sentencepiece.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <zlib.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "text/text_testing.h"
#include "text/tokenizer_impl.h"

namespace puyu {
namespace {

using sentencepiece::SentencePieceProcessor;

// A model trained by the library on the spot.
std::string train_theirs(const std::string& flags, const std::vector<std::string>& lines) {
  struct Lines : sentencepiece::SentenceIterator {
    const std::vector<std::string>& lines;
    size_t at = 0;
    explicit Lines(const std::vector<std::string>& l) : lines(l) {}
    bool done() const override { return at == lines.size(); }
    void Next() override { ++at; }
    const std::string& value() const override { return lines[at]; }
    sentencepiece::util::Status status() const override { return {}; }
  } source(lines);
  std::string model;
  auto status =
      sentencepiece::SentencePieceTrainer::Train("--minloglevel=2 --hard_vocab_limit=false " + flags, &source, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

struct Both {
  SentencePieceProcessor theirs;
  Tokenizer ours;
  explicit Both(const std::string& model) : ours(make_tokenizer(parse_sentencepiece(model, "test model"))) {
    EXPECT_TRUE(theirs.LoadFromSerializedProto(model).ok());
  }
  // Returns whether they agree, so that loops can stop at the first difference.
  bool agree(std::string_view text) {
    std::vector<int> want;
    EXPECT_TRUE(theirs.Encode(text, &want).ok());
    std::vector<int32_t> got = ours.encode(text);
    if (std::vector<int>(got.begin(), got.end()) == want) return true;
    ADD_FAILURE() << "different ids for a text of " << text.size()
                  << " bytes: " << testing::PrintToString(std::string(text.substr(0, 300)));
    return false;
  }
};

Both& internlm2() {
  static Both both(read_file(test_data(kInternLm2Model)));
  return both;
}

TEST(SentencePiece, AgreesOnHardTexts) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Both& b = internlm2();
  for (size_t n : {1, 2, 3, 5, 47, 48, 49, 50, 127, 128, 129, 1000, 10007})
    for (const char* bit :
         {" ",       "a",   "\n", "\t", "0", "9",    "=",        "-",        "\r\n",         "\xE2\x96\x81",
          "ab",      "的",  "—",  "…",  "[", "\xFF", "\xE4\xBD", "\xF0\x9F", "\xED\xA0\x80", "\xC0\x80",
          "abcdefg", " \n", "  x"}) {
      std::string text;
      for (size_t i = 0; i < n; ++i) text += bit;
      ASSERT_TRUE(b.agree(text)) << n << " times " << testing::PrintToString(bit);
      ASSERT_TRUE(b.agree("x" + text + "y"));
    }
  EXPECT_TRUE(b.agree(""));
  EXPECT_TRUE(b.agree(std::string("a\0\0b", 4)));
}

TEST(SentencePiece, AgreesOnRandomTexts) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Rng rng(1);
  for (int i = 0; i < 6000; ++i) {
    ASSERT_TRUE(internlm2().agree(random_text(rng, rng.below(300)))) << "text " << i;
    ASSERT_TRUE(internlm2().agree(random_bytes(rng, rng.below(200)))) << "bytes " << i;
  }
}

// Random pieces side by side: what English words and Chinese phrases in a wrong order join to.
TEST(SentencePiece, AgreesOnRandomPieces) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Both& b = internlm2();
  Rng rng(2);
  for (int i = 0; i < 4000; ++i) {
    std::vector<int32_t> ids(rng.below(60));
    const uint64_t most = rng.below(2) ? 5000 : 92397;
    for (int32_t& id : ids) id = static_cast<int32_t>(259 + rng.below(most - 259));
    std::string text = b.ours.decode(ids);
    ASSERT_TRUE(b.agree(text)) << i;
    ASSERT_TRUE(b.agree(std::string_view(text).substr(text.size() / 3))) << i;  // may begin inside a character
  }
}

TEST(SentencePiece, EveryPieceAgrees) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Both& b = internlm2();
  for (int32_t id = 0; id < b.ours.vocab_size(); ++id) ASSERT_TRUE(b.agree(b.theirs.IdToPiece(id))) << id;
}

// Spans lie side by side, cover the text, and hold what their ids decode to.
void check_spans(const Tokenizer& t, const std::string& text) {
  std::vector<TokenSpan> spans;
  const std::vector<int32_t> ids = t.encode_with_spans(text, spans);
  ASSERT_EQ(ids, t.encode(text));
  ASSERT_EQ(spans.size(), ids.size());
  size_t at = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSERT_EQ(spans[i].begin, at);
    ASSERT_LE(spans[i].begin, spans[i].end);
    at = spans[i].end;
    const std::string part = text.substr(spans[i].begin, at - spans[i].begin);
    const bool plain = valid_utf8(text) && text.find(kSpaceMark) == text.npos && !t.vocabulary().add_dummy_prefix;
    if (!plain || !t.vocabulary().byte_fallback || t.is_special(ids[i]) || t.piece_bytes(ids[i]) == part) continue;
    ASSERT_TRUE(part == " " || part.empty()) << part;  // a space that no piece has: U+2581 in bytes
  }
  ASSERT_EQ(at, text.size());
}

// A text in parts, cut anywhere.
void check_stream(const Tokenizer& t, const std::string& text, Rng& rng) {
  StreamEncoder stream(t);
  std::vector<int32_t> got;
  for (size_t i = 0; i < text.size();) {
    const size_t n = 1 + rng.below(rng.below(2) ? 4 : 60);
    const std::vector<int32_t> ids = stream.push(std::string_view(text).substr(i, n));
    got.insert(got.end(), ids.begin(), ids.end());
    i += n;
  }
  const std::vector<int32_t> rest = stream.finish();
  got.insert(got.end(), rest.begin(), rest.end());
  ASSERT_EQ(got, t.encode(text)) << testing::PrintToString(text);
}

TEST(SentencePiece, SpansAndStreamsAreTheWhole) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Rng rng(12);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = i % 2 ? random_text(rng, rng.below(300)) : random_bytes(rng, rng.below(200));
    check_spans(internlm2().ours, text);
    check_stream(internlm2().ours, text, rng);
    if (HasFatalFailure()) return;
  }
}

TEST(SentencePiece, StreamsGiveIdsAsSoonAsTheyAreSure) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  const Tokenizer& t = internlm2().ours;
  StreamEncoder stream(t);
  const std::vector<int32_t> ids = stream.push("The first sentence. The second sentence, which has not en");
  EXPECT_GT(ids.size(), 5u);  // the last bytes may begin a user-defined piece of 18
  StreamEncoder endless(t);   // one chunk that never ends is not looked at again and again
  for (int i = 0; i < 100000; ++i) EXPECT_TRUE(endless.push("a").empty());
  EXPECT_EQ(endless.finish(), t.encode(std::string(100000, 'a')));
}

TEST(SentencePiece, BatchesAreTheirTexts) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Rng rng(13);
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back(random_text(rng, rng.below(i % 50 ? 500 : 100000)));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const std::vector<std::vector<int32_t>> got = internlm2().ours.encode_batch(views);
  ASSERT_EQ(got.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(got[i], internlm2().ours.encode(texts[i]));
  EXPECT_TRUE(internlm2().ours.encode_batch({}).empty());
}

// Chunks without a safe place to cut, longer than what the heap gets: joined rank by rank.
TEST(SentencePiece, AgreesOnHugeChunks) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  Rng rng(14);
  for (size_t n : {4095, 4096, 4097, 20000, 100000})
    for (const char* alphabet : {"a", "ab", "the", "aeinst", " ", "=-", "0123456789"}) {
      const std::string_view letters = alphabet;
      std::string text;
      while (text.size() < n) text += letters[rng.below(letters.size())];
      ASSERT_TRUE(internlm2().agree(text)) << n << " of " << alphabet;
    }
  for (int i = 0; i < 20; ++i) {  // pieces of few letters, so that all neighbours may join
    std::string text;
    while (text.size() < 30000) {
      const std::string piece = internlm2().theirs.IdToPiece(static_cast<int>(354 + rng.below(3000)));
      if (std::ranges::all_of(piece, [](char c) { return c >= 'a' && c <= 'z'; })) text += piece;
    }
    ASSERT_TRUE(internlm2().agree(text));
  }
}

// Models of the other settings, trained on the spot.
TEST(SentencePiece, AgreesOnOtherSettings) {
  std::vector<std::string> lines;
  Rng rng(3);
  for (int i = 0; i < 400; ++i) lines.push_back(repair_utf8(random_text(rng, 120)));
  for (auto& l : lines) std::erase(l, '\0');
  for (bool fallback : {true, false})
    for (bool dummy : {true, false}) {
      Both b(train_theirs(
          cat("--model_type=bpe --vocab_size=1700 --character_coverage=0.99 --normalization_rule_name=identity "
              "--remove_extra_whitespaces=false --user_defined_symbols=ingx,in,你好世,<sep> --control_symbols=<ctl> "
              "--byte_fallback=",
              fallback, " --add_dummy_prefix=", dummy),
          lines));
      for (int i = 0; i < 1500; ++i) {
        std::string text = random_text(rng, rng.below(150));
        if (i % 3 == 0) text += "ingxin <sep><ctl> 你好世界";
        ASSERT_TRUE(b.agree(text)) << "fallback " << fallback << ", dummy prefix " << dummy;
        check_spans(b.ours, text);
        check_stream(b.ours, text, rng);
        if (HasFatalFailure()) return;
        // A stream is the whole, and one that goes on another text keeps its leading spaces.
        const std::vector<int32_t> ids = b.ours.encode("  " + text);
        const auto whole = std::span(ids), begin = whole.first(ids.size() / 2), rest = whole.subspan(begin.size());
        auto streamed = [&](std::span<const int32_t> part, bool continues) {
          StreamDecoder d(b.ours, continues);
          std::string out;
          for (int32_t id : part) out += d.push(id);
          return out + d.finish();
        };
        ASSERT_EQ(streamed(whole, false), repair_utf8(b.ours.decode(whole)));
        ASSERT_EQ(streamed(rest, true), repair_utf8(b.ours.decode(rest, false, true)));
        const bool text_before = !begin.empty();
        ASSERT_EQ(b.ours.decode(begin) + b.ours.decode(rest, false, text_before), b.ours.decode(whole));
      }
    }
}

TEST(SentencePiece, RefusesOtherModels) {
  std::vector<std::string> lines(200, "a few words to train on, and 1 2 3 more");
  auto refused = [&](const std::string& flags, const std::string& why) {
    const std::string model = train_theirs("--vocab_size=40 " + flags, lines);
    try {
      parse_sentencepiece(model, "m.model");
      ADD_FAILURE() << "not refused: " << flags;
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what(); }
  };
  const std::string identity = " --normalization_rule_name=identity --remove_extra_whitespaces=false";
  refused("--model_type=unigram" + identity, "unigram");
  refused("--model_type=bpe", "identity normaliser, got 'nmt_nfkc'");
  refused("--model_type=bpe --normalization_rule_name=identity", "remove_extra_whitespaces");
  refused("--model_type=bpe --treat_whitespace_as_suffix=true" + identity, "treat_whitespace_as_suffix");
}

// Damaged models: an Error or a model, never a crash (run it under ASan).
TEST(SentencePiece, DamagedModels) {
  const std::string model = train_theirs(
      "--model_type=bpe --vocab_size=300 --byte_fallback=true --normalization_rule_name=identity "
      "--remove_extra_whitespaces=false",
      std::vector<std::string>(50, "some words, some more words"));
  auto try_it = [](const std::string& bytes) {
    try {
      make_tokenizer(parse_sentencepiece(bytes, "m.model")).encode("some words 你好 \xFF");
    } catch (const Error&) {}
  };
  for (size_t n = 0; n < model.size(); n += 7) try_it(model.substr(0, n));
  Rng rng(4);
  for (int i = 0; i < 1500; ++i) {
    std::string bad = model;
    for (int k = 0; k < 3; ++k) bad[rng.below(bad.size())] = static_cast<char>(rng.below(256));
    try_it(bad);
  }
  EXPECT_THROW(parse_sentencepiece(model.substr(0, model.size() / 2), "m"), Error);
  EXPECT_THROW(parse_sentencepiece("", "m"), Error);
}

std::string read_maybe_gzip(const std::string& path) {
  std::string out;
  gzFile f = gzopen(path.c_str(), "rb");
  if (!f) return out;
  char buf[1 << 16];
  for (int n; (n = gzread(f, buf, sizeof buf)) > 0;) out.append(buf, static_cast<size_t>(n));
  gzclose(f);
  return out;
}

TEST(SentencePiece, SlowAgreesOn24MegabytesOfText) {
  SKIP_WITHOUT(test_data(kInternLm2Model));
  // Each folder gives at most so many bytes, so that no kind of text crowds out the others.
  constexpr size_t kWant = 24 << 20, kEach = 6 << 20;
  size_t total = 0;
  Rng rng(5);
  for (const std::string& folder : {test_data("corpora/en"), test_data("corpora/zh"), test_data("corpora/pairs"),
                                    test_data("html"), std::string("/usr/share/man"), std::string("/usr/lib/python3"),
                                    std::string("/usr/include"), std::string("/usr/share/doc")}) {
    if (!is_directory(folder)) continue;
    size_t bytes = 0;
    for (const std::string& path : list_files(folder)) {
      if (bytes >= kEach) break;
      std::string text = read_maybe_gzip(path);
      text.resize(std::min(text.size(), kEach / 4));
      for (size_t i = 0; i < text.size();) {  // pieces of 0 to 8 kB, cut anywhere, also inside characters
        size_t n = 1 + rng.below(8192);
        ASSERT_TRUE(internlm2().agree(std::string_view(text).substr(i, n))) << path << " at " << i;
        i += n;
      }
      bytes += text.size();
    }
    log_info(folder, ": ", bytes, " bytes agree");
    total += bytes;
  }
  EXPECT_GE(total, kWant) << "too little text on this machine for the full proof";
}

}  // namespace
}  // namespace puyu
