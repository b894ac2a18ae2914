// cl100k's ids against the rule that tiktoken follows, done the slow way: each word of the pattern, if it is no piece
// itself, is joined pair by pair, the lowest rank first, the leftmost on ties.
#include <unordered_map>

#include "base/temp_dir_test_util.h"
#include "text/hf_bpe.h"
#include "text/pattern.h"
#include "text/text_testing.h"
#include "text/tokenizer.h"

namespace puyu {
namespace {

using Ranks = std::unordered_map<std::string, int32_t>;

void join_slowly(const std::string& word, const Ranks& ranks, std::vector<int32_t>& out) {
  if (const auto whole = ranks.find(word); whole != ranks.end()) return out.push_back(whole->second);
  std::vector<std::string> parts;
  for (char c : word) parts.emplace_back(1, c);
  for (;;) {
    size_t best = parts.size();
    int32_t rank = INT32_MAX;
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      if (const auto r = ranks.find(parts[i] + parts[i + 1]); r != ranks.end() && r->second < rank)
        best = i, rank = r->second;
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  for (const std::string& p : parts) out.push_back(ranks.at(p));
}

std::vector<int32_t> encode_slowly(const std::string& text, const Ranks& ranks, const SplitPattern& pattern) {
  std::vector<int32_t> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = pattern.match(text, at);
    if (end == text.npos) {
      ADD_FAILURE() << "no word at " << at;
      break;
    }
    join_slowly(text.substr(at, end - at), ranks, out);
    at = end;
  }
  return out;
}

TEST(Cl100k, IdsAreThoseOfTheRule) {
  const std::string path = test_data("tokenizer/cl100k_base.tiktoken.gz");
  SKIP_WITHOUT(path);
  test::TempDir dir;
  write_file(dir / "cl100k_base.tiktoken", gunzip(path));
  const Tokenizer t = Tokenizer::load(dir / "cl100k_base.tiktoken");
  Ranks ranks;
  for (int32_t id = 0; id < 100256; ++id) ranks.emplace(t.piece_bytes(id), id);
  const SplitPattern pattern(kCl100kPattern);
  std::vector<std::string> texts;
  Rng rng(8);
  for (int i = 0; i < 400; ++i) texts.push_back(random_text(rng, rng.below(120)));
  for (const char* name :
       {"corpora/zh/niutrans-modern.jsonl.gz", "corpora/zh/poetry-hant.jsonl.gz", "corpora/en/brown.jsonl.gz"}) {
    SKIP_WITHOUT(test_data(name));
    texts.emplace_back(utf8_prefix(gunzip(test_data(name)), 60000));
  }
  texts.emplace_back("第一章　总则。。。\xe4\xb8 \xff\xfe 日本語のテキスト、한국어 текст 😀😀 été ½ x²");
  for (const std::string& text : texts)
    ASSERT_EQ(t.encode(text), encode_slowly(text, ranks, pattern)) << text.substr(0, 80);
}

}  // namespace
}  // namespace puyu
