#include "data/repeats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/compress.h"
#include "data/pipeline.h"

namespace puyu {
namespace {

struct Corpus {
  std::string text;
  std::vector<int64_t> starts = {0};
  std::vector<DedupKey> keys;
  void add(const std::string& content, uint64_t id, uint32_t date = 0) {
    text += content;
    starts.push_back(static_cast<int64_t>(text.size()));
    keys.push_back({{id, 0}, {}, date, static_cast<uint32_t>(content.size()), 0});
  }
  TextView view() const { return {text, starts.data(), keys.data(), static_cast<int64_t>(keys.size())}; }
};

std::string letters(Rng& rng, int n, int alphabet) {
  std::string out;
  for (int i = 0; i < n; ++i) out += static_cast<char>('a' + rng.below(alphabet));
  return out;
}

TEST(Repeats, SuffixesAreSortedToTheDepth) {
  Rng rng(1);
  for (int alphabet : {1, 2, 26})
    for (size_t depth : {8, 13, 100}) {
      std::string text = letters(rng, 2000, alphabet);
      std::vector<uint32_t> places, want;
      for (uint32_t p = 0; p + depth <= text.size(); ++p) places.push_back(p);
      want = places;
      std::stable_sort(want.begin(), want.end(),
                       [&](uint32_t a, uint32_t b) { return text.compare(a, depth, text, b, depth) < 0; });
      sort_suffixes(text, places, depth);
      EXPECT_EQ(places, want) << alphabet << " " << depth;
    }
}

// By keeping every window of every document in a map.
std::vector<std::vector<bool>> naive_cuts(const Corpus& c, size_t length) {
  Preference better = survivor_rule("newest");
  std::map<std::string, std::vector<std::pair<int64_t, size_t>>> windows;
  std::vector<std::vector<bool>> out;
  for (int64_t d = 0; d < c.view().count; ++d) {
    std::string text(c.view().document(d));
    out.emplace_back(text.size());
    for (size_t p = 0; p + length <= text.size(); ++p)
      if ((text[p] & 0xc0) != 0x80) windows[text.substr(p, length)].push_back({d, p});
  }
  for (auto& [window, places] : windows) {
    auto best = places[0];
    for (auto& p : places)
      if (p.first == best.first ? p.second < best.second : better(c.keys[p.first], c.keys[best.first])) best = p;
    for (auto& [d, p] : places) {
      if (std::pair(d, p) == best) continue;
      std::string_view text = c.view().document(d);
      size_t to = p + length;
      while (to < text.size() && (text[to] & 0xc0) == 0x80) --to;
      for (size_t i = p; i < to; ++i) out[d][i] = true;
    }
  }
  return out;
}

std::vector<std::vector<bool>> as_bits(const Corpus& c, const std::vector<Cut>& cuts) {
  std::vector<std::vector<bool>> out;
  for (int64_t d = 0; d < c.view().count; ++d) out.emplace_back(c.view().document(d).size());
  for (const Cut& cut : cuts)
    for (uint32_t i = cut.from; i < cut.to; ++i) {
      EXPECT_FALSE(out[cut.document][i]) << "cuts overlap";
      out[cut.document][i] = true;
    }
  return out;
}

TEST(Repeats, SubstringsAreThoseOfAMapOfWindowsInAnyNumberOfBlocks) {
  test::TempDir dir;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Rng rng(seed);
    Corpus c;
    std::string shared = letters(rng, 300, 26), chinese;
    for (int i = 0; i < 80; ++i) chinese += rng.below(2) ? "好" : "é";
    for (uint64_t d = 0; d < 40; ++d) {
      std::string text = letters(rng, static_cast<int>(rng.below(200)), 26);
      if (rng.below(2)) text += shared.substr(rng.below(100), 60 + rng.below(140));
      if (rng.below(3) == 0) text += chinese.substr(0, rng.below(chinese.size() / 2)) + "x";
      if (rng.below(4) == 0) text += std::string(rng.below(90), 'a');
      c.add(text + letters(rng, 3000, 26), d * 7 % 40, static_cast<uint32_t>(rng.below(3)));
    }
    RepeatOptions o;
    o.min_bytes = seed % 2 ? 40 : 57;
    for (int64_t memory : {64, 2}) {  // one block, and two
      o.memory_mb = memory;
      EXPECT_EQ(as_bits(c, find_repeated_substrings(c.view(), o, dir.path)), naive_cuts(c, o.min_bytes)) << seed;
    }
  }
  RepeatOptions o;
  o.memory_mb = 0;
  EXPECT_THROW(find_repeated_substrings(Corpus().view(), o, dir.path), Error);
}

TEST(Repeats, LinesStayOnceInThePreferredDocument) {
  test::TempDir dir;
  Corpus c;
  const std::string notice = "Copyright 2019 by the Authors of this page\n",
                    notice2 = "copyright 2023, by the authors of THIS page!\n";
  c.add("First of all a line that is here only once.\n" + notice + "yes\n", 1, 20200101);
  c.add(notice2 + "Another line that nobody else has got.\nyes\n" + notice, 2, 20210101);
  c.add("yes\n", 3, 20220101);
  RepeatOptions o;
  auto cuts = find_repeated_lines(c.view(), o, dir.path);
  // The newer document keeps the first of its two; short lines stay.
  std::vector<Cut> want = {{0, 44, static_cast<uint32_t>(44 + notice.size())},
                           {1, static_cast<uint32_t>(c.keys[1].length - notice.size()), c.keys[1].length}};
  EXPECT_EQ(cuts, want);
  o.unit = "paragraph";
  EXPECT_TRUE(find_repeated_lines(c.view(), o, dir.path).empty());
  o.unit = "word";
  EXPECT_THROW(find_repeated_lines(c.view(), o, dir.path), Error);
}

TEST(Repeats, ACorpusIsRewrittenWithALedger) {
  test::TempDir dir;
  Rng rng(3);
  make_directories(dir / "in");
  std::string shared = "This sentence is boilerplate that stands on every page of the site.", lines;
  for (int i = 0; i < 30; ++i) {
    Document d;
    d.id = document_id("s", "p", i), d.source = "s", d.url = std::to_string(i), d.language = "en";
    d.content = letters(rng, 200, 26) + "\n" + shared + shared + "\n" + (i == 9 ? "" : letters(rng, 150, 26));
    if (i == 9) d.content = shared + shared;
    lines += to_json_line(d);
  }
  ZstdFile z(dir / "in/docs-00000.jsonl.zst");
  z.write(lines);
  z.commit();
  for (Repeats what : {Repeats::kLines, Repeats::kSubstrings}) {
    std::string out = dir / (what == Repeats::kLines ? "lines" : "substrings");
    Funnel f = remove_repeats(dir / "in", out, what, {});
    ASSERT_EQ(f.stages.size(), 1u);
    const Stage& s = f.stages[0];
    EXPECT_EQ(s.in.documents, 30);
    EXPECT_EQ(s.changed.at("cut"), 29);
    int64_t found = 0, bytes = 0;
    for_each_document(out, [&](Document&& d) {
      found += d.content.find(shared + shared) != std::string::npos;
      bytes += static_cast<int64_t>(d.content.size());
    });
    EXPECT_EQ(found, 1);
    EXPECT_EQ(bytes, s.kept.bytes);
    // The ledger accounts for every byte that is gone.
    double cut = 0;
    InputStream ledger(out + "/ledger.jsonl.zst");
    for (std::string line; ledger.read_line(line);) {
      Json j = Json::parse(line);
      if (j.at("action").as_string() == "change") cut += j.at("value").as_double();
    }
    EXPECT_EQ(static_cast<double>(s.in.bytes - s.kept.bytes), cut);
    EXPECT_FALSE(file_exists(out + "/work"));
  }
  EXPECT_THROW(remove_repeats(dir / "in", dir / "in", Repeats::kLines, {}), Error);
  EXPECT_THROW(remove_repeats(dir / "none", dir / "x", Repeats::kLines, {}), Error);
}

}  // namespace
}  // namespace puyu
