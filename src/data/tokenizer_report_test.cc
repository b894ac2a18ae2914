// The report's figures on texts small enough to count by hand.
#include "data/tokenizer_report.h"

#include <gtest/gtest.h>

#include "text/bpe_train.h"
#include "text/vocabulary.h"

namespace puyu {
namespace {

Tokenizer tiny() {
  Vocabulary v;
  v.lossless = true;
  v.pieces = {{"<unk>", 0, PieceKind::kUnknown}, {"<s>", 0, PieceKind::kControl}};
  for (int b = 0; b < 256; ++b) v.pieces.push_back({byte_piece(b), 0, PieceKind::kByte});
  for (const char* text : {"a", "b", "ab", "你", "好", "你好", "1", "\xE2\x96\x81", "\xE2\x96\x81\xE2\x96\x81", "é"})
    v.pieces.push_back({text, -static_cast<float>(v.pieces.size()), PieceKind::kNormal});
  v.specials = {{1, "<s>"}};
  return Tokenizer::from(std::move(v));
}

TEST(TokenizerReport, CountsByHand) {
  TokenizerReport r(tiny());
  const std::vector<std::string> texts = {"abab a", "你好中", "ab"}, languages = {"en", "zh", "en"};
  r.add(texts, languages);
  const TokenUse& en = r.uses().at("en");
  EXPECT_EQ(en.documents, 2);
  EXPECT_EQ(en.bytes, 8);
  EXPECT_EQ(en.tokens, 5);  // ab ab ▁ a, ab
  EXPECT_DOUBLE_EQ(en.bytes_per_token(), 1.6);
  EXPECT_DOUBLE_EQ(en.coverage(), 1);
  const TokenUse& zh = r.uses().at("zh");
  EXPECT_EQ(zh.tokens, 4);  // 你好, three bytes of 中
  EXPECT_EQ(zh.characters, 3);
  EXPECT_EQ(zh.spelt, 1);
  const auto pieces = r.pieces();
  EXPECT_EQ(pieces.at("ascii").pieces, 3);
  EXPECT_EQ(pieces.at("ascii").unused, 1);  // b
  EXPECT_EQ(pieces.at("han").pieces, 3);
  EXPECT_EQ(pieces.at("han").unused, 2);
  EXPECT_EQ(pieces.at("han").longest_text, "你好");
  EXPECT_EQ(pieces.at("bytes").pieces, 256);
  EXPECT_EQ(pieces.at("bytes").unused, 253);
  EXPECT_EQ(pieces.at("spaces").longest, 2);
  EXPECT_EQ(pieces.at("digits").pieces, 1);
  EXPECT_EQ(pieces.at("other").pieces, 1);
  EXPECT_EQ(pieces.at("special").pieces, 2);
  EXPECT_DOUBLE_EQ(r.json().at("languages").at("en").at("bytes_per_token").as_double(), 1.6);
  EXPECT_NE(r.text("tiny").find("你好"), std::string::npos);
}

}  // namespace
}  // namespace puyu
