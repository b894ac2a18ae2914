#include "tensor/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"

namespace puyu {
namespace {

struct SafeTensorsTest : ::testing::Test {
  test::TempDir dir;
  std::string path = dir / "a.safetensors";

  void put(std::string_view bytes) const {  // without fsync: these tests write hundreds of files
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  // A file with the given JSON header and n bytes of data.
  void write(std::string header, size_t n) {
    uint64_t size = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &size, 8);
    put(bytes + header + std::string(n, 'x'));
  }
  std::string error() const {
    try {
      SafeTensors f(path);
    } catch (const Error& e) { return e.what(); }
    return "";
  }
  std::string error(const std::string& header, size_t n) {
    write(header, n);
    return error();
  }
};
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(SafeTensorsTest, RoundTrip) {
  float a[6] = {1, 2, 3, 4, 5, 6};
  int64_t b[2] = {-1, INT64_MAX};
  BF16 c[1] = {{0x3F80}};
  std::vector<NamedTensor> list = {{"层.weight", make_view(a, 2, 3)},
                                   {"ids", make_view(b, 2)},
                                   {"one", make_view(c, 1)},
                                   {"empty", make_view(a, 0, 4)}};
  uint64_t sum = write_safetensors(path, list, {{"format", "pt"}, {"名", "书生"}});
  SafeTensors f(path);
  EXPECT_EQ(f.metadata().at("名"), "书生");
  ASSERT_EQ(f.tensors().size(), 4u);
  EXPECT_EQ(sum, hash64(f.data()));
  for (const auto& [name, t] : list) {
    const Tensor* r = f.find(name);
    ASSERT_TRUE(r) << name;
    EXPECT_EQ(shape_string(*r), shape_string(t));
    EXPECT_EQ(std::memcmp(r->data, t.data, static_cast<size_t>(t.nbytes())), 0);
  }
  EXPECT_EQ(f.find("absent"), nullptr);
  list.push_back(list[0]);
  EXPECT_DEATH(write_safetensors(path, list, {}), "one name");
}

TEST_F(SafeTensorsTest, CutAnywhereIsAnError) {
  float a[6] = {1, 2, 3, 4, 5, 6};
  write_safetensors(path, {{"a", make_view(a, 2, 3)}, {"b", make_view(a, 3)}}, {{"k", "v"}});
  const std::string whole = read_file(path);
  for (size_t n = 0; n < whole.size(); ++n) {
    put(whole.substr(0, n));
    std::string e = error();
    ASSERT_TRUE(has(e, path)) << "cut to " << n << ": '" << e << "'";
  }
  put(whole + "x");
  EXPECT_TRUE(has(error(), "trailing bytes"));
}

TEST_F(SafeTensorsTest, AnyChangedByteIsReadOrRefusedNeverWorse) {
  float a[6] = {1, 2, 3, 4, 5, 6};
  write_safetensors(path, {{"a", make_view(a, 2, 3)}, {"b", make_view(a, 3)}}, {{"k", "v"}});
  const std::string whole = read_file(path);
  Rng rng(2);
  for (int round = 0; round < 400; ++round) {
    std::string s = whole;
    for (uint64_t k = 1 + rng.below(3); k > 0; --k) s[rng.below(s.size())] = static_cast<char>(rng.below(256));
    put(s);
    try {
      SafeTensors f(path);
      for (const auto& [name, t] : f.tensors()) {
        const char* p = static_cast<const char*>(t.data);
        ASSERT_TRUE(p >= f.data().data() && p + t.nbytes() <= f.data().data() + f.data().size());
      }
    } catch (const Error& e) { ASSERT_TRUE(has(e.what(), path)) << e.what(); }
  }
}

TEST_F(SafeTensorsTest, HostileHeaders) {
  EXPECT_EQ(error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8), "");
  EXPECT_EQ(error("{}", 0), "");
  auto one = [&](const char* dtype, const char* shape, const char* offsets, size_t n = 8) {
    return error(cat(R"({"a":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets, "}}"), n);
  };
  EXPECT_TRUE(has(one("F8_E5M2", "[8]", "[0,8]"), "unsupported dtype"));
  EXPECT_TRUE(has(one("F32", "[3]", "[0,8]"), "needs 12 bytes"));
  EXPECT_TRUE(has(one("F32", "[-2]", "[0,8]"), "impossible shape"));
  EXPECT_TRUE(has(one("F32", "[4294967296,4294967296]", "[0,8]"), "impossible shape"));
  EXPECT_TRUE(has(one("F32", "[9223372036854775807]", "[0,8]"), "impossible shape"));
  EXPECT_TRUE(has(one("F32", "[1,1,1,1,2]", "[0,8]"), "rank 5"));
  EXPECT_TRUE(has(one("F32", "[2]", "[8,0]"), "outside"));
  EXPECT_TRUE(has(one("F32", "[2]", "[-8,0]"), "outside"));
  EXPECT_TRUE(has(one("F32", "[2]", "[8,16]"), "outside"));
  EXPECT_TRUE(has(one("F32", "[2]", "[0]"), "[begin, end]"));
  EXPECT_TRUE(has(one("F32", "[2]", "[0,1e300]"), "expected an integer"));
  EXPECT_TRUE(has(one("F32", "2", "[0,8]"), "expected an array"));
  EXPECT_TRUE(has(one("F32", "[2]", "[4,12]", 12), "hole"));
  EXPECT_TRUE(has(error(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "data_offsets"));
  EXPECT_TRUE(has(error(R"([])", 0), "expected an object"));
  EXPECT_TRUE(has(error(R"({"__metadata__":{"k":1}})", 0), "expected a string"));
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  EXPECT_TRUE(has(error(cat("{", a, ",", a, "}"), 4), "occurs twice"));
  EXPECT_TRUE(has(error(cat("{", a, R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})"), 6), "overlap"));
  EXPECT_TRUE(has(error(cat("{", a, R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})"), 9), "hole"));
  EXPECT_TRUE(has(error(std::string(100'000, '['), 0), "nested deeper"));
  for (uint64_t n : {uint64_t{100} << 21, UINT64_MAX, UINT64_MAX - 7, uint64_t{1} << 63}) {
    std::string s(64, '\0');
    std::memcpy(s.data(), &n, 8);
    put(s);
    EXPECT_TRUE(has(error(), "not a safetensors file, or cut off"));
  }
}

}  // namespace
}  // namespace puyu
