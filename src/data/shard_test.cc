#include "data/shard.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/temp_dir_test_util.h"

namespace puyu {
namespace {

struct ShardTest : ::testing::Test {
  test::TempDir dir;
  std::string path = dir / "a.tok";
  void write(int width) {
    ShardWriter w(path, width, 99);
    int32_t a[] = {1, 2, 60000}, b[] = {7};
    w.add(a, 3, 4);
    w.add(b, 1, 5);
    w.commit();
  }
  std::string error() {
    try {
      ShardReader r(path);
    } catch (const Error& e) { return e.what(); }
    return "";
  }
};

TEST_F(ShardTest, RoundTrip) {
  for (int width : {2, 4}) {
    write(width);
    ShardReader r(path);
    EXPECT_EQ(r.tokens(), 4);
    ASSERT_EQ(r.documents(), 2);
    EXPECT_EQ(r.begin(1), 3);
    EXPECT_EQ(r.source(1), 5);
    EXPECT_EQ(r.tokenizer_fingerprint(), 99u);
    int32_t out[4];
    r.read(0, 4, out);
    EXPECT_EQ(out[2], 60000);
    EXPECT_EQ(out[3], 7);
  }
}

TEST_F(ShardTest, DamageIsNamed) {
  write(2);
  std::string good = read_file(path);
  write_file(path, good.substr(0, good.size() - 1));
  EXPECT_NE(error().find("truncated"), std::string::npos) << error();
  std::string bad = good;
  bad[70] ^= 1;
  write_file(path, bad);
  EXPECT_NE(error().find("checksum"), std::string::npos) << error();
  write_file(path, "hello");
  EXPECT_NE(error().find("too short"), std::string::npos) << error();
  bad = good;
  bad[0] = 'X';
  write_file(path, bad);
  EXPECT_NE(error().find("magic"), std::string::npos) << error();
}

TEST_F(ShardTest, NothingIsLeftWithoutCommit) {
  std::filesystem::remove(path);
  { ShardWriter w(path, 2, 0); }
  EXPECT_FALSE(file_exists(path));
}

}  // namespace
}  // namespace puyu
