// Files as InternEvo's tools/tokenizer.py writes them, byte for byte as Python's json and NumPy do.
#include "data/internevo.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temp_dir_test_util.h"

namespace puyu {
namespace {

template <class T>
std::string npy(const std::vector<std::pair<T, T>>& rows, const char* type) {
  std::string header = cat("{'descr': '", type, "', 'fortran_order': False, 'shape': (", rows.size(), ", 2), }");
  header.resize((10 + header.size() + 64) / 64 * 64 - 10, ' ');
  header.back() = '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(header.size());
  out += static_cast<char>(header.size() >> 8);
  out += header;
  for (auto [a, b] : rows)
    out.append(reinterpret_cast<const char*>(&a), sizeof a).append(reinterpret_cast<const char*>(&b), sizeof b);
  return out;
}

class InternEvo : public ::testing::Test {
 protected:
  test::TempDir folder;
  std::string path = folder.path + "/a.bin";
  std::string error() {
    try {
      InternEvoReader r(path);
    } catch (const Error& e) { return e.what(); }
    return "";
  }
};

const std::string kLines = "{\"tokens\": [-1, 5, 70000]}\n{\"tokens\": [0, -7]}\n{\"tokens\": [9]}\n";

TEST_F(InternEvo, ReadsDocumentsAndTheirMask) {
  write_file(path, kLines);
  write_file(path + ".meta", npy<int32_t>({{0, 3}, {27, 2}, {47, 1}}, "<i4"));
  EXPECT_TRUE(is_internevo_data(path));
  const InternEvoReader r(path);
  ASSERT_EQ(r.documents(), 3);
  EXPECT_EQ(r.tokens(), 6);
  EXPECT_EQ(r.largest_id(), 70000);
  EXPECT_EQ(r.end(1), 5);
  std::vector<int32_t> ids(6);
  r.read(0, 6, ids.data());
  EXPECT_EQ(ids, (std::vector<int32_t>{~1, 5, 70000, ~0, ~7, 9}));
  r.read(2, 2, ids.data());
  EXPECT_EQ(ids[0], 70000);
  EXPECT_EQ(ids[1], ~0);
  write_file(path + ".meta", npy<int64_t>({{47, 1}, {0, 3}}, "<i8"));  // any order, any of the lines
  const InternEvoReader other(path);
  other.read(0, 4, ids.data());
  EXPECT_EQ(ids[0], 9);
  EXPECT_EQ(ids[3], 70000);
}

TEST_F(InternEvo, DamageIsNamed) {
  write_file(path, kLines);
  auto with = [&](const std::string& meta) { return write_file(path + ".meta", meta), error(); };
  const std::string good = npy<int32_t>({{0, 3}, {27, 2}, {47, 1}}, "<i4");
  EXPECT_EQ(with(good), "");
  EXPECT_NE(with("hello, world"), "");
  EXPECT_NE(with(good.substr(0, good.size() - 3)).find("damaged"), std::string::npos);
  EXPECT_NE(with(npy<int32_t>({{0, 4}}, "<i4")).find("document 0: 3 tokens, the index says 4"), std::string::npos);
  EXPECT_NE(with(npy<int32_t>({{-5, 4}}, "<i4")).find("int64"), std::string::npos);
  EXPECT_NE(with(npy<int32_t>({{900, 4}}, "<i4")).find("byte 900"), std::string::npos);
  EXPECT_NE(with(npy<int32_t>({{0, 3}}, "<f4")).find("int32 or int64"), std::string::npos);
  EXPECT_NE(with(npy<int32_t>({{3, 3}}, "<i4")).find("document 0"), std::string::npos);  // not the head of a line
  write_file(path, "{\"tokens\": [1, 99999999999]}\n");
  EXPECT_NE(with(npy<int32_t>({{0, 2}}, "<i4")).find("no token id"), std::string::npos);
}

}  // namespace
}  // namespace puyu
