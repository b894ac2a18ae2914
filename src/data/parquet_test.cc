// Parquet files of every shape that is read, damaged ones, and those that are refused by name.
#include "data/parquet.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/parquet_writer_test_util.h"
#include "data/reader.h"
#include "data/snappy.h"

namespace puyu {
namespace {

using test::ParquetTexts;
using test::ParquetWriter;
using test::ParquetWriterOptions;

struct ParquetTest : ::testing::Test {
  test::TempDir folder;
  // "content|title|url" or "url!reason" of every document.
  std::vector<std::string> read(const std::string& bytes) {
    const std::string path = folder.path + "/a.parquet";
    std::ofstream(path, std::ios::binary) << bytes;
    std::vector<std::string> out;
    read_documents(
        {path, "s", "a.parquet", "", static_cast<int64_t>(bytes.size())}, {},
        [&](Document&& d) { out.push_back(d.content + "|" + d.title + "|" + d.url); },
        [&](ReadFailure&& f) { out.push_back(f.document.url + "!" + f.reason); });
    return out;
  }
  // Columns of n rows with nulls, long texts and repeated ones, and what they should be read as.
  std::vector<ParquetTexts> columns(size_t n, std::vector<std::string>& want) {
    Rng rng(5);
    ParquetTexts text{"text", {}}, title{"title", {}}, other{"number", {}}, url{"url", {}, 0};
    for (size_t i = 0; i < n; ++i) {
      std::string t = cat("text ", rng.below(20), std::string(rng.below(300), 'x'));
      text.values.push_back(i % 7 == 3 ? std::nullopt : std::optional(t));
      title.values.push_back(i % 2 ? std::nullopt : std::optional(cat("title ", i % 5)));
      other.values.push_back("ignored");
      url.values.push_back(cat("http://x/", i));
      want.push_back(i % 7 == 3 ? cat("http://x/", i, "!empty")
                                : cat(t, "|", i % 2 ? "" : cat("title ", i % 5), "|http://x/", i));
    }
    return {other, text, title, url};
  }
};

TEST_F(ParquetTest, EveryCodecEncodingAndPageVersion) {
  for (int codec : {0, 1, 2, 6})
    for (bool dictionary : {false, true})
      for (bool second : {false, true})
        for (size_t page_rows : {size_t{1000}, size_t{7}}) {
          std::vector<std::string> want;
          const auto c = columns(100, want);
          ParquetWriter writer({codec, dictionary, second, page_rows == 7, page_rows, 40});
          EXPECT_EQ(read(writer.write(c)), want) << codec << dictionary << second << page_rows;
        }
}

TEST_F(ParquetTest, TimesAndIds) {
  auto bytes = [](auto v) { return std::string(reinterpret_cast<const char*>(&v), sizeof v); };
  const std::string id = "0123456789abcdef0123456789abcdef";
  ParquetTexts text{"text", {"a", "b"}}, ids{"id", {id, "no id"}}, source{"source", {"books", "books"}};
  const ParquetTexts times[] = {{"date", {bytes(int64_t{-1}), bytes(int64_t{1709201472000})}, 1, 2, 9},
                                {"date", {bytes(int64_t{-1}), bytes(int64_t{1709201472000000})}, 1, 2, 10},
                                {"date", {bytes(int32_t{-1}), bytes(int32_t{19782})}, 1, 1, 6}};
  for (const ParquetTexts& time : times)
    for (bool dictionary : {false, true}) {
      const std::string path = folder.path + "/a.parquet";
      std::ofstream(path, std::ios::binary) << ParquetWriter({0, dictionary}).write({text, ids, source, time});
      std::vector<Document> got;
      ReaderOptions options;
      options.keep_ids = true;
      read_documents(
          {path, "s", "a.parquet", "", 1}, options, [&](Document&& d) { got.push_back(d); },
          [](ReadFailure&&) { FAIL(); });
      ASSERT_EQ(got.size(), 2u);
      EXPECT_EQ(got[0].date.substr(0, 10), "1969-12-31");
      EXPECT_EQ(got[1].date, time.type == 1 ? "2024-02-29T00:00:00" : "2024-02-29T10:11:12");
      EXPECT_EQ(got[0].id + got[0].source, id + "books");
      EXPECT_EQ(got[1].id + got[1].source, document_id("s", "a.parquet", 1) + "s");
    }
}

TEST_F(ParquetTest, WhatIsNotReadIsRefusedByName) {
  std::vector<std::string> want;
  auto c = columns(10, want);
  EXPECT_EQ(read(ParquetWriter({4}).write(c))[0], "a.parquet#0!parquet_codec_brotli");
  c[1].name = "texts";
  EXPECT_EQ(read(ParquetWriter({}).write(c)), std::vector<std::string>{"a.parquet!no_text_field"});
  c[1].name = "content", c[1].repetition = 2;
  EXPECT_EQ(read(ParquetWriter({}).write(c)), std::vector<std::string>{"a.parquet!parquet_nested"});
  EXPECT_EQ(read("no parquet"), std::vector<std::string>{"a.parquet!bad_parquet"});
  EXPECT_EQ(read(""), std::vector<std::string>{"a.parquet!bad_parquet"});
  const std::string whole = ParquetWriter({}).write(columns(10, want));
  EXPECT_EQ(read(whole.substr(0, whole.size() - 20)), std::vector<std::string>{"a.parquet!truncated_parquet"});
  EXPECT_EQ(read(ParquetWriter({}).write({{"text", {}}})), std::vector<std::string>{"a.parquet!empty"});
}

TEST_F(ParquetTest, DamageCostsItsRowGroupAlone) {
  std::vector<std::string> want;
  const auto c = columns(100, want);
  std::string bytes = ParquetWriter({0, false, false, true, 20, 50}).write(c);
  bytes[bytes.find("title 0")] ^= 1;  // of the first group
  const std::vector<std::string> got = read(bytes);
  ASSERT_GE(got.size(), 51u);
  EXPECT_EQ(std::count_if(got.begin(), got.end(), [](auto& s) { return s.ends_with("!bad_parquet"); }), 1);
  EXPECT_TRUE(std::equal(want.begin() + 50, want.end(), got.end() - 50));
}

TEST(Snappy, TheFormatsOwnExamples) {
  std::string out;
  // A literal "Wikip" and a copy of length 4 and offset 2 that overlaps itself; then copies of all three kinds.
  EXPECT_TRUE(snappy_decompress(std::string("\x09\x10Wikip\x01\x02", 9), 100, out));
  EXPECT_EQ(out, "Wikipipip");
  EXPECT_TRUE(snappy_decompress(std::string("\x0c\x08"
                                            "abc"
                                            "\x09\x03"
                                            "\x06\x03\x00"
                                            "\x02\x01\x00",
                                            13),
                                100, out));
  EXPECT_EQ(out.size(), 12u);
  EXPECT_TRUE(snappy_decompress(std::string("\x06\x08"
                                            "abc"
                                            "\x0b\x03\x00\x00\x00",
                                            10),
                                100, out));
  EXPECT_EQ(out, "abcabc");
  std::string long_literal(300, 'q');
  EXPECT_TRUE(snappy_decompress(test::varint_of(300) + std::string("\xf4\x2b\x01", 3) + long_literal, 1000, out));
  EXPECT_EQ(out, long_literal);
  // Too long, cut off, a copy from before the beginning, more than was said.
  EXPECT_FALSE(snappy_decompress(std::string("\x09\x10Wikip\x01\x02", 9), 8, out));
  EXPECT_FALSE(snappy_decompress(std::string("\x09\x10Wiki", 6), 100, out));
  EXPECT_FALSE(snappy_decompress(std::string("\x09\x10Wikip\x01\x06", 9), 100, out));
  EXPECT_FALSE(snappy_decompress(std::string("\x06\x10Wikip\x01\x02", 9), 100, out));
  EXPECT_FALSE(snappy_decompress("", 100, out));
}

}  // namespace
}  // namespace puyu
