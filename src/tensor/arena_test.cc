#include "tensor/arena.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/temp_dir_test_util.h"

namespace puyu {
namespace {

TEST(Arena, AlignsAndDoesNotOverlap) {
  Arena a("test", 1 << 20);
  char* last_end = nullptr;
  for (int64_t n : {1, 63, 64, 65, 0, 1000}) {
    Tensor t = a.alloc(DType::kU8, {n});
    ASSERT_EQ(reinterpret_cast<uintptr_t>(t.data) % 64, 0u);
    ASSERT_GE(static_cast<char*>(t.data), last_end);
    last_end = static_cast<char*>(t.data) + n;
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(static_cast<char*>(t.data)[i], 0) << "fresh pages are zero";
    std::fill_n(static_cast<char*>(t.data), n, '\x55');
  }
}

TEST(Arena, ReleaseGivesTheSameMemoryAgain) {
  Arena a("test", 1 << 20);
  a.alloc_array<float>(10);
  int64_t mark = a.mark();
  float* first = a.alloc_array<float>(100);
  {
    ScratchScope scope(a);
    a.alloc_array<float>(1000);
  }
  int64_t peak = a.peak();
  EXPECT_GE(peak, 4400);
  EXPECT_LT(a.used(), peak);
  a.release(mark);
  EXPECT_EQ(a.alloc_array<float>(100), first);
  EXPECT_EQ(a.peak(), peak);
  EXPECT_DEATH(a.release(a.used() + 1), "CHECK");
}

std::string alloc_error(Arena& a, std::initializer_list<int64_t> shape) {
  try {
    a.alloc(DType::kF32, shape);
  } catch (const Error& e) { return e.what(); }
  return "";
}

TEST(Arena, ExhaustionNamesArenaShapeAndSizes) {
  Arena a("activations", 2 << 20);
  a.alloc(DType::kF32, {1000});
  int64_t used = a.used();
  std::string e = alloc_error(a, {1024, 1024});
  EXPECT_NE(e.find("[arena] activations: [1024, 1024] f32 needs 4.19 MB"), std::string::npos) << e;
  EXPECT_NE(e.find("of 2.10 MB are in use"), std::string::npos) << e;
  EXPECT_EQ(a.used(), used) << "a refused allocation takes nothing";
  for (auto shape : {std::initializer_list<int64_t>{INT64_MAX / 4, 1},
                     {int64_t{1} << 31, int64_t{1} << 31},
                     {int64_t{1} << 32, int64_t{1} << 32},
                     {INT64_MAX}})
    EXPECT_NE(alloc_error(a, shape), "");
  Arena none("none", 0);
  EXPECT_NE(alloc_error(none, {1}), "");
}

TEST(Arena, AFileInPlaceOfMemory) {
  const test::TempDir dir;
  {
    Arena a("moments", 5 << 20, dir.path);
    EXPECT_EQ(a.capacity(), 6 << 20);
    float* p = a.alloc_array<float>(1 << 20);
    for (int i = 0; i < 1 << 20; ++i) ASSERT_EQ(p[i], 0.0f);
    p[12345] = 3;
    EXPECT_EQ(p[12345], 3);
    EXPECT_TRUE(std::filesystem::is_empty(dir.path)) << "the file has a name";
  }
  try {
    Arena a("moments", int64_t{1} << 50, dir.path);
    FAIL() << "a disk of a petabyte";
  } catch (const Error& e) {
    const std::string said = e.what();
    EXPECT_NE(said.find(dir.path + ": cannot keep"), std::string::npos) << said;
    EXPECT_NE(said.find("moments"), std::string::npos) << said;
  }
}

TEST(Arena, MemoryTableAddsUp) {
  Arena a("weights", 4 << 20), b("scratch", 4 << 20);
  a.alloc(DType::kU8, {1'000'000 - 64});
  std::string t = memory_table({&a, &b});
  EXPECT_NE(t.find("weights"), std::string::npos);
  EXPECT_NE(t.find("total          1.00 MB    1.00 MB"), std::string::npos) << t;
}

TEST(Tensor, ViewsAreBoundsChecked) {
  float x[6] = {0, 1, 2, 3, 4, 5};
  Tensor t = make_view(x, 3, 2);
  EXPECT_EQ(t.rows(1, 3).as<float>()[0], 2);
  EXPECT_EQ(t.view(2, 3).shape[1], 3);
  EXPECT_EQ(shape_string(t), "[3, 2] f32");
  EXPECT_DEATH(t.rows(1, 4), "CHECK");
  EXPECT_DEATH(t.view(4, 2), "CHECK");
  EXPECT_DEATH(t.as<BF16>(), "another type");
}

}  // namespace
}  // namespace puyu
