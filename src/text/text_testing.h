// What the tests of this folder share: the test data, seeded random texts, and SentencePiece as the oracle.
#pragma once
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "base/utf8.h"

namespace puyu {

inline std::string test_data(const std::string& name) {
  const char* root = std::getenv("PUYU_TEST_DATA");
  return (root ? std::string(root) : std::string(PUYU_SOURCE_DIR "/../shared/data")) + "/" + name;
}

inline std::string gunzip(const std::string& path) {
  std::string out(4 << 20, 0);
  gzFile f = gzopen(path.c_str(), "rb");
  out.resize(static_cast<size_t>(std::max(0, gzread(f, out.data(), static_cast<unsigned>(out.size())))));
  gzclose(f);
  return out;
}

inline const std::string kInternLm2Model = "tokenizer/tokenizer_internlm2.model";

#define SKIP_WITHOUT(path) \
  if (!file_exists(path)) GTEST_SKIP() << "no test data at " << path << " (set PUYU_TEST_DATA)"

// A few characters of everything that has ever broken a tokenizer.
inline std::string random_text(Rng& rng, size_t length) {
  static const std::vector<std::string> kBits = {" ",
                                                 "  ",
                                                 "    ",
                                                 "\n",
                                                 "\r\n",
                                                 "\t",
                                                 std::string(1, '\0'),
                                                 "0",
                                                 "12",
                                                 "345",
                                                 "2024",
                                                 "\xE2\x96\x81",
                                                 "the",
                                                 " the",
                                                 "a",
                                                 "aa",
                                                 "ing",
                                                 " of",
                                                 "Hello",
                                                 "don't",
                                                 "==",
                                                 "::",
                                                 "();\n",
                                                 "</",
                                                 "[UNUSED_TOKEN_146]",
                                                 "[UNUSED_TOKEN_",
                                                 "[",
                                                 "你",
                                                 "你好",
                                                 "世界",
                                                 "，",
                                                 "。",
                                                 "——",
                                                 "—",
                                                 "……",
                                                 "…",
                                                 "Ａ",
                                                 "ａ",
                                                 "𠮷",
                                                 "😀",
                                                 "é",
                                                 "ß",
                                                 "я",
                                                 "ア",
                                                 "한",
                                                 "\xEF\xBF\xBD",
                                                 "<s>",
                                                 "<|im_start|>",
                                                 "<0x41>",
                                                 "\xC2\xA0",
                                                 "\xEF\xBB\xBF",
                                                 "\xE2\x80\x8D",
                                                 "e\xCC\x81",
                                                 "龘",
                                                 "\x7F",
                                                 "\x01"};
  std::string out;
  while (out.size() < length) {
    if (rng.below(8) == 0) {
      char32_t c = static_cast<char32_t>(rng.below(rng.below(2) ? 0x3000 : 0x110000));
      if (c < 0xD800 || c > 0xDFFF) append_utf8(out, c);
    } else {
      const std::string& bit = kBits[rng.below(kBits.size())];
      for (uint64_t n = rng.below(16) == 0 ? rng.below(40) : 1; n > 0; --n) out += bit;
    }
  }
  return out;
}

inline std::string random_bytes(Rng& rng, size_t length) {
  std::string out(length, '\0');
  const uint64_t most = rng.below(2) ? 256 : 8;  // few different bytes make long joins
  for (char& c : out) c = static_cast<char>(most == 256 ? rng.below(256) : "ab \xE4\xBD\xA0\n\xF0"[rng.below(8)]);
  return out;
}

}  // namespace puyu
