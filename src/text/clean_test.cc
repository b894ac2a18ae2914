// Normalisation and language identification.
#include <gtest/gtest.h>

#include "text/langid.h"
#include "text/unicode.h"

namespace puyu {
namespace {

std::string clean(std::string_view s, TextChanges* changes = nullptr) {
  TextChanges c;
  std::string out = normalize_text(s, c);
  if (changes) *changes = c;
  return out;
}

TEST(Normalize, LinesSpacesControls) {
  TextChanges c;
  EXPECT_EQ(clean("\n\na  \r\nb\t\r\r\n\n\n\n\n\nc\x01\x7f \x1b[32mred\x1b[m\n\n", &c), "a\nb\n\n\nc red");
  EXPECT_EQ(c.newlines, 3);
  EXPECT_EQ(c.control, 4);
  EXPECT_EQ(clean("\xEF\xBB\xBF中文\u200b\u202e好"), "中文好");
  EXPECT_EQ(clean("a\u00a0b"), "a b");
}

TEST(Normalize, InvalidUtf8IsRepairedAndCounted) {
  TextChanges c;
  EXPECT_EQ(clean("a\xff"
                  "b\xe4\xbd"
                  "c\xc0\x80",
                  &c),
            "a\ufffdb\ufffdc\ufffd");
  EXPECT_EQ(c.invalid_utf8, 3);
}

TEST(Normalize, ComposesAndIsIdempotent) {
  TextChanges c;
  EXPECT_EQ(clean("e\u0301", &c), "\u00e9");
  EXPECT_EQ(c.nfc, 1);
  std::string once = clean("x \r\n\n\n\n\ny\u0301 中文 \n");
  EXPECT_EQ(clean(once, &c), once);
  EXPECT_EQ(c.newlines + c.spaces + c.control + c.nfc + c.invalid_utf8, 0);
}

TEST(LanguageId, ScriptsAndWords) {
  EXPECT_EQ(detect_language("列出目录内容").code, "zh");
  EXPECT_EQ(detect_language("床前明月光，疑是地上霜。").code, "zh");
  EXPECT_EQ(detect_language("與 -l 同時使用時，印出每個檔案的作者 --author").code, "zh");
  EXPECT_EQ(detect_language("List information about the files in the current directory by default.").code, "en");
  EXPECT_EQ(detect_language("私は昨日、友達と一緒に映画を見に行きました。とても面白かったです。").code, "ja");
  EXPECT_EQ(detect_language("Der schnelle braune Fuchs springt über den faulen Hund und läuft davon.").code, "de");
  EXPECT_EQ(detect_language("1234 5678 +-*/").code, "und");
  EXPECT_EQ(detect_language("").code, "und");
}

}  // namespace
}  // namespace puyu
