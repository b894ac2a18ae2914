// Text is cut only where no piece reaches across, and it is cut at all.
#include "text/byte_cuts.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/utf8.h"

namespace puyu {
namespace {

// Characters of one to four bytes, and now and then a broken one.
std::string random_text(Rng& rng, int characters) {
  std::string out;
  for (int i = 0; i < characters; ++i) {
    constexpr char32_t kFirst[] = {'a', 0xE0, 0x4E00, 0x1F600};
    append_utf8(out, kFirst[rng.below(4)] + static_cast<char32_t>(rng.below(12)));
    if (rng.below(20) == 0) out += static_cast<char>(rng.below(256));
  }
  return out;
}

std::vector<size_t> cuts_of(const ByteCuts& cuts, std::string_view text) {
  std::vector<size_t> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = cuts.part_end(text, at);
    EXPECT_GT(end, at);
    out.push_back(at = end);
  }
  EXPECT_TRUE(text.empty() || out.back() == text.size());
  return out;
}

TEST(ByteCuts, NoPieceReachesAcross) {
  int64_t parts = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    const std::string source = random_text(rng, 60);
    std::vector<std::string> pieces;
    ByteCuts cuts;
    for (int i = 0; i < 12; ++i) {  // of any bytes: whole characters and parts of them
      const size_t from = rng.below(source.size());
      pieces.push_back(source.substr(from, 1 + rng.below(7)));
      cuts.add(pieces.back());
    }
    std::string text = random_text(rng, 40);
    for (int i = 0; i < 10; ++i) text.insert(rng.below(text.size() + 1), pieces[rng.below(pieces.size())]);
    for (size_t cut : cuts_of(cuts, text)) {
      ++parts;
      for (const std::string& p : pieces)
        for (size_t at = text.find(p); at != text.npos; at = text.find(p, at + 1))
          EXPECT_FALSE(at < cut && cut < at + p.size()) << seed << " cut at " << cut;
    }
  }
  EXPECT_GT(parts, 200 * 5);
}

TEST(ByteCuts, CutsBetweenStrangers) {
  ByteCuts cuts;
  cuts.add("中文"), cuts.add("abc"), cuts.add("\xb8\xad ");  // the last: a part of 中 and a space
  EXPECT_EQ(cuts.part_end("中文a", 0), 6u);
  EXPECT_EQ(cuts.part_end("文中", 0), 3u);
  EXPECT_EQ(cuts.part_end("中 文", 0), 4u);
  EXPECT_EQ(cuts.part_end("abca", 0), 3u);
  EXPECT_EQ(cuts.part_end("x\xff"
                          "y",
                          0),
            3u);  // broken bytes cut nothing
}

}  // namespace
}  // namespace puyu
