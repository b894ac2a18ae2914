// Bad input through the whole pipeline: each piece is an error or a counted reason, and what is good beside it is kept.
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "data/compress.h"
#include "data/pipeline.h"

namespace puyu {
namespace {

std::string sentence(int n) {
  return cat("The river number ", n,
             " that runs below the town has been the reason of its wealth and of its fear for as long as people "
             "have lived with it, and that will not change with a wall of ",
             n * 7919, " stones.");
}
std::string json_line(int n) { return "{\"text\": \"" + sentence(n) + "\", \"language\": \"en\"}\n"; }

struct BadInput : ::testing::Test {
  test::TempDir folder;
  std::string dir = folder.path;
  PipelineConfig config;
  void SetUp() override {
    config.input = {dir + "/in"};
    config.en.min_words = 10;
    put("good.jsonl", json_line(1));
  }
  void put(const std::string& name, const std::string& bytes) {
    make_directories(dir + "/in");
    std::ofstream(dir + "/in/" + name, std::ios::binary) << bytes;
  }
  Funnel run() { return run_pipeline(config, dir + "/out", 2); }
  std::string error() {
    try {
      run();
    } catch (const Error& e) { return e.what(); }
    return "no error";
  }
  int64_t kept(const Funnel& f) { return f.stages.back().kept.documents; }
};

TEST_F(BadInput, TruncatedGzipKeepsWhatCameBefore) {
  std::string lines;
  for (int i = 2; i < 3000; ++i) lines += json_line(i);
  put("cut.jsonl", lines);
  gzFile z = gzopen((dir + "/in/cut.jsonl.gz").c_str(), "wb");
  gzwrite(z, lines.data(), static_cast<unsigned>(lines.size()));
  gzclose(z);
  std::filesystem::remove(dir + "/in/cut.jsonl");
  std::filesystem::resize_file(dir + "/in/cut.jsonl.gz", std::filesystem::file_size(dir + "/in/cut.jsonl.gz") * 2 / 3);
  config.stages = {"normalise", "language", "filter"};
  Funnel f = run();
  EXPECT_EQ(f.stages[0].dropped["truncated_gzip"].documents, 1);
  EXPECT_GT(kept(f), 1000);
  EXPECT_LT(kept(f), 2999);
}

TEST_F(BadInput, WrongCharsetDeclared) {
  // GB18030 that says it is UTF-8.
  put("page.html",
      "<html><head><meta charset=\"utf-8\"></head><body><p>\xd6\xd0\xce\xc4\xb5\xc4\xce\xc4\xd5\xc2\xa3\xac"
      "\xb2\xbb\xca\xc7\xd5\xe2\xb8\xf6\xb1\xe0\xc2\xeb\xa1\xa3\xcb\xfb\xc3\xc7\xd4\xda\xba\xd3\xb1\xdf\xd7\xdf\xc2\xb7"
      "\xa1\xa3"
      "</p></body></html>");
  Funnel f = run();
  EXPECT_EQ(f.stages[0].changed["charset_misdeclared"], 1);
}

TEST_F(BadInput, NulsInFilesAndTexts) {
  put("nul.txt", sentence(2) + std::string(1, '\0') + sentence(3));
  put("escaped.jsonl", "{\"text\": \"" + sentence(4) + "\\u0000\\u0000 " + sentence(5) + "\"}\n");
  Funnel f = run();
  EXPECT_EQ(f.stages[0].dropped["binary"].documents, 1);
  EXPECT_EQ(f.stages[1].changed["control"], 1);
  for_each_document(dir + "/out", [](Document&& d) { EXPECT_EQ(d.content.find('\0'), std::string::npos); });
}

TEST_F(BadInput, DeepPagesAndLongLines) {
  std::string deep;
  for (int i = 0; i < 20000; ++i) deep += "<div>";
  put("deep.html", deep);
  config.reader.max_record_bytes = 100000;
  put("long.jsonl", json_line(2) + "{\"text\": \"" + std::string(1000000, 'x') + "\"}\n" + json_line(3));
  Funnel f = run();
  EXPECT_EQ(f.stages[0].dropped["too_deep"].documents, 1);
  EXPECT_EQ(f.stages[0].dropped["too_large"].documents, 1);
  EXPECT_EQ(kept(f), 3);
}

TEST_F(BadInput, EmptyShardsAreCounted) {
  ZstdFile(dir + "/in/docs-00000.jsonl.zst").commit();
  put("blank.jsonl", "\n \n");
  put("none.warc", "");
  put("none.txt", "");
  Funnel f = run();
  EXPECT_EQ(f.stages[0].dropped["empty"].documents, 4);
  EXPECT_EQ(kept(f), 1);
  // Nothing but empty shards: an empty corpus that says why.
  std::filesystem::remove(dir + "/in/good.jsonl");
  ::testing::internal::CaptureStderr();
  f = run();
  EXPECT_NE(::testing::internal::GetCapturedStderr().find(
                "no document is left: stage read dropped the last; its rule empty dropped 4"),
            std::string::npos);
  EXPECT_EQ(kept(f), 0);
  EXPECT_EQ(corpus_shards(dir + "/out").size(), 1u);
}

TEST_F(BadInput, ClashingIds) {
  const std::string line =
      "{\"id\": \"00000000000000000000000000000001\", \"source\": \"a\", \"text\": \"" + sentence(2) + "\"}\n";
  put("a.jsonl", line + line);
  EXPECT_EQ(kept(run()), 2);  // made anew
  config.reader.keep_ids = true;
  EXPECT_NE(error().find("two documents have the same id"), std::string::npos) << error();
}

TEST_F(BadInput, AConfigThatSelectsNothing) {
  config.languages = {};
  EXPECT_NE(error().find("languages: none is named"), std::string::npos) << error();
  config.languages = {"fr"};
  ::testing::internal::CaptureStderr();
  Funnel f = run();
  EXPECT_NE(
      ::testing::internal::GetCapturedStderr().find("stage language dropped the last; its rule language_en dropped 1"),
      std::string::npos);
  EXPECT_EQ(f.stages[2].dropped["language_en"].documents, 1);
  config.shard_bytes = 0;
  EXPECT_NE(error().find("shard_bytes"), std::string::npos);
  config.shard_bytes = 1;
  config.input = {dir + "/nowhere"};
  EXPECT_NE(error().find("nowhere: no such file or folder"), std::string::npos);
  make_directories(dir + "/hidden");
  std::ofstream(dir + "/hidden/.only") << "x";
  config.input = {dir + "/hidden"};
  EXPECT_NE(error().find("no input files"), std::string::npos);
}

}  // namespace
}  // namespace puyu
