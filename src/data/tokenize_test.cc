#include "data/tokenize.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/json.h"
#include "base/temp_dir_test_util.h"
#include "data/compress.h"
#include "data/document.h"
#include "data/pipeline.h"
#include "data/shard.h"

namespace puyu {
namespace {
namespace fs = std::filesystem;

std::string real_tokenizer() {
  const char* dir = std::getenv("PUYU_TEST_DATA");
  return std::string(dir ? dir : PUYU_SOURCE_DIR "/../shared/data") + "/tokenizer/tokenizer_internlm2.model";
}

TEST(Tokenize, ShardsHoldEveryDocumentOnceAndDoNotDependOnWorkers) {
  if (!file_exists(real_tokenizer())) GTEST_SKIP() << "no test data: set PUYU_TEST_DATA (" << real_tokenizer() << ")";
  Tokenizer t = Tokenizer::load(real_tokenizer());
  test::TempDir folder;
  const std::string& dir = folder.path;
  make_directories(dir + "/corpus");
  ZstdFile file(dir + "/corpus/docs-00000.jsonl.zst");
  for (int i = 0; i < 600; ++i) {
    Document d;
    d.source = i % 3 ? "b" : "a", d.id = document_id(d.source, "x", i), d.language = i % 2 ? "zh" : "en";
    d.content = (i % 2 ? "第" : "number ") + std::to_string(i) + (i % 2 ? "篇文章。" : " of the texts.");
    file.write(to_json_line(d));
  }
  file.commit();
  TokenizeResult r = tokenize_corpus(dir + "/corpus", t, dir + "/one", 1);
  tokenize_corpus(dir + "/corpus", t, dir + "/four", 4);
  EXPECT_EQ(r.documents + r.held_out_documents, 600);
  EXPECT_EQ(r.held_out_documents, 8);  // 1 % of 300 is less than 4 a language
  for (const char* name : {"/train.tok", "/valid-en.tok", "/valid-zh.tok", "/sources.json"})
    EXPECT_EQ(read_file(dir + "/one" + name), read_file(dir + "/four" + name)) << name;
  ShardReader train(dir + "/one/train.tok"), valid(dir + "/one/valid-zh.tok");
  EXPECT_EQ(train.documents(), 592);
  EXPECT_EQ(valid.documents(), 4);
  EXPECT_EQ(train.tokens(), r.tokens);
  EXPECT_EQ(train.tokenizer_fingerprint(), t.fingerprint());
  std::vector<int32_t> ids(static_cast<size_t>(train.end(0)));
  train.read(0, train.end(0), ids.data());
  EXPECT_EQ(ids.front(), t.bos());
  EXPECT_EQ(ids.back(), t.eos());
  Json j = Json::parse(read_file(dir + "/one/sources.json"));
  EXPECT_EQ(j.at("sources").as_array().at(1).as_string(), "b");
}

}  // namespace
}  // namespace puyu
