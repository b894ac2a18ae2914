#include "base/utf8.h"

#include <gtest/gtest.h>
#include <unicode/uchar.h>
#include <unicode/ustring.h>
#include <unicode/utf8.h>

#include <vector>

#include "base/rng.h"

namespace puyu {
namespace {

TEST(Utf8, EveryCharacterAgreesWithIcu) {
  for (int32_t c = 0; c <= 0x10FFFF; ++c) {
    if (U_IS_SURROGATE(c)) continue;
    std::string s;
    append_utf8(s, static_cast<char32_t>(c));
    uint8_t want[U8_MAX_LENGTH];
    int32_t n = 0;
    U8_APPEND_UNSAFE(want, n, c);
    ASSERT_EQ(s, std::string(reinterpret_cast<char*>(want), static_cast<size_t>(n))) << c;
    char32_t back = 0;
    ASSERT_EQ(decode_utf8(s, 0, back), s.size()) << c;
    ASSERT_EQ(back, static_cast<char32_t>(c));
    for (size_t k = 1; k < s.size(); ++k) ASSERT_EQ(decode_utf8(s.substr(0, k), 0, back), 0u) << c;
  }
}

TEST(Utf8, TheUnicodeStandardsTable) {  // table 3-7: the well-formed sequences, byte by byte
  struct Row {
    int lo1, hi1, lo2, hi2, length;
  };
  const Row kRows[] = {{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
                       {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
                       {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) {
      size_t want = a < 0x80 ? 1 : 0;
      for (const Row& r : kRows)
        if (a >= r.lo1 && a <= r.hi1 && b >= r.lo2 && b <= r.hi2) want = static_cast<size_t>(r.length);
      std::string s = {static_cast<char>(a), static_cast<char>(b), '\x80', '\xBF'};
      char32_t c;
      ASSERT_EQ(decode_utf8(s, 0, c), want) << a << " " << b;
    }
}

// ICU's own conversion with substitution follows the same rule: one U+FFFD for each maximal invalid subpart.
std::string icu_repair(const std::string& s) {
  std::vector<UChar> u(s.size() * 2 + 8);
  int32_t n = 0, m = 0, subs = 0;
  UErrorCode status = U_ZERO_ERROR;
  u_strFromUTF8WithSub(u.data(), static_cast<int32_t>(u.size()), &n, s.data(), static_cast<int32_t>(s.size()), 0xFFFD,
                       &subs, &status);
  std::string out(static_cast<size_t>(n) * 3 + 8, '\0');
  u_strToUTF8(out.data(), static_cast<int32_t>(out.size()), &m, u.data(), n, &status);
  EXPECT_TRUE(U_SUCCESS(status));
  out.resize(static_cast<size_t>(m));
  return out;
}

TEST(Utf8, RandomBytesRepairAsIcuDoes) {
  Rng rng(3);
  // Bytes near the edges of the table are drawn more often, so that near-valid sequences occur.
  const unsigned char kEdges[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                  0xE0, 0xE1, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
  for (int round = 0; round < 50'000; ++round) {
    std::string s;
    for (uint64_t n = rng.below(24); n > 0; --n)
      s += static_cast<char>(rng.below(3) ? kEdges[rng.below(sizeof kEdges)] : rng.below(256));
    std::string fixed = repair_utf8(s);
    ASSERT_TRUE(valid_utf8(fixed));
    ASSERT_EQ(fixed, icu_repair(s));
    ASSERT_EQ(valid_utf8(s), fixed == s);
    size_t bad = first_invalid_utf8(s);
    ASSERT_TRUE(valid_utf8(s.substr(0, bad)));
  }
}

TEST(Utf8, InvalidByteIsFoundAtEveryOffset) {
  for (size_t at = 0; at < 40; ++at) {
    std::string s(40, 'a');
    s[at] = '\xFF';
    EXPECT_EQ(first_invalid_utf8(s), at);
  }
}

TEST(Utf8, PrefixNeverCutsACharacter) {
  const std::string s = "aé书😀z";
  for (size_t n = 0; n <= s.size() + 2; ++n) {
    std::string_view p = utf8_prefix(s, n);
    EXPECT_TRUE(valid_utf8(p));
    EXPECT_LE(p.size(), n);
    EXPECT_GT(p.size() + 4, std::min(n, s.size()));
  }
}

TEST(Utf8, DisplayWidth) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("书生·浦语"), 9u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
  EXPECT_EQ(display_width("😀，"), 4u);
  EXPECT_EQ(display_width("\xFF"), 1u);
}

}  // namespace
}  // namespace puyu
