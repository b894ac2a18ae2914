#include "comm/mesh.h"

#include <gtest/gtest.h>

#include <set>

namespace puyu {
namespace {

constexpr MeshLimits kLimits{8, 24};  // InternLM2-1.8B

std::string refusal(Mesh m, int64_t ranks, MeshLimits limits = kLimits) {
  try {
    fit_mesh(m, ranks, limits);
  } catch (const Error& e) { return e.what(); }
  return "";
}

TEST(Mesh, DataIsWhatTheOthersLeave) {
  EXPECT_EQ(fit_mesh({0, 1, 1}, 8, kLimits), (Mesh{8, 1, 1}));
  EXPECT_EQ(fit_mesh({0, 2, 2}, 8, kLimits), (Mesh{2, 2, 2}));
  EXPECT_EQ(fit_mesh({1, 1, 1}, 1, kLimits), (Mesh{1, 1, 1}));
  EXPECT_EQ(fit_mesh({0, 2, 1, 3}, 12, kLimits), (Mesh{2, 2, 1, 3}));
}

TEST(Mesh, AnImpossibleProductIsRefusedWithTheNearestOne) {
  EXPECT_EQ(
      refusal({0, 3, 2}, 8),
      "[mesh] 1 data x 3 tensor x 2 pipeline = 6 ranks, but 8 were started; the nearest possible mesh is 1 data x "
      "4 tensor x 2 pipeline");
  EXPECT_EQ(
      refusal({4, 1, 1}, 8),
      "[mesh] 4 data x 1 tensor x 1 pipeline = 4 ranks, but 8 were started; the nearest possible mesh is 8 data x "
      "1 tensor x 1 pipeline");
  EXPECT_EQ(refusal({0, 16, 1}, 16),
            "[mesh] the model's 8 key/value heads cannot be split over 16 tensor ranks; the nearest possible mesh is 2 "
            "data x 8 tensor x 1 pipeline");
  EXPECT_EQ(
      refusal({0, 1, 32}, 32),
      "[mesh] the model's 24 blocks cannot be split over 32 pipeline ranks; the nearest possible mesh is 2 data x "
      "1 tensor x 16 pipeline");
  const MeshLimits odd{12, 24, 1536, 50258};  // ffn = 512 * 3, vocabulary = 2 * 25129
  EXPECT_EQ(
      refusal({0, 4, 1}, 8, odd),
      "[mesh] the model's vocabulary of 50258 cannot be split over 4 tensor ranks; the nearest possible mesh is 4 "
      "data x 2 tensor x 1 pipeline");
  EXPECT_EQ(refusal({0, 3, 1}, 6, {12, 24, 1024, 0}),
            "[mesh] the 1024 columns of the model's feed-forward cannot be split over 3 tensor ranks; the nearest "
            "possible mesh is 3 data x 2 tensor x 1 pipeline");
  EXPECT_EQ(fit_mesh({0, 2, 1}, 8, odd), (Mesh{4, 2, 1}));
  EXPECT_EQ(refusal({0, 1, 4}, 8, {8, 6, 0, 0, 2}),
            "[mesh] the model's 6 blocks cannot be split over 4 pipeline ranks of 2 chunks; the nearest possible mesh "
            "is 4 data x 1 tensor x 2 pipeline");
  EXPECT_EQ(fit_mesh({0, 1, 1}, 8, {8, 1, 0, 0, 2}), (Mesh{8, 1, 1}));
  EXPECT_EQ(
      refusal({1, 1, 1, 3}, 8),
      "[mesh] 1 data x 1 tensor x 1 pipeline x 3 context = 3 ranks, but 8 were started; the nearest possible mesh "
      "is 2 data x 1 tensor x 1 pipeline x 4 context");
  EXPECT_EQ(refusal({0, 16, 1, 2}, 32),
            "[mesh] the model's 8 key/value heads cannot be split over 16 tensor ranks; the nearest possible mesh is 2 "
            "data x 8 tensor x 1 pipeline x 2 context");
  EXPECT_NE(refusal({0, 1, 1, 0}, 4).find("context: expected 1"), std::string::npos);
  EXPECT_NE(refusal({0, 0, 1}, 4).find("tensor: expected 1"), std::string::npos);
  EXPECT_NE(refusal({-1, 1, 1}, 4).find("data: expected 0"), std::string::npos);
  EXPECT_NE(refusal({int64_t{1} << 40, 1, 1}, 4).find("data: expected 0"), std::string::npos);
}

// Whatever is asked for, what is named as nearest is accepted.
TEST(Mesh, TheNearestMeshIsPossible) {
  for (int64_t ranks : {1, 2, 6, 7, 8, 12, 64})
    for (int64_t t : {1, 2, 3, 5, 8, 9})
      for (int64_t p : {1, 2, 3, 7, 30}) {
        const std::string why = refusal({0, t, p}, ranks);
        if (why.empty()) continue;
        Mesh m;
        const std::string near = why.substr(why.find("mesh is ") + 8);
        ASSERT_EQ(std::sscanf(near.c_str(), "%ld data x %ld tensor x %ld pipeline", &m.data, &m.tensor, &m.pipeline),
                  3);
        EXPECT_EQ(refusal(m, ranks), "") << why;
      }
}

TEST(Mesh, EveryRankHasItsOwnPlaceAndTensorRanksAreNeighbours) {
  const Mesh m{3, 2, 4};
  std::set<std::array<int64_t, 3>> seen;
  for (int64_t r = 0; r < m.ranks(); ++r) {
    const Coordinates c = coordinates(m, r);
    seen.insert({c.data, c.tensor, c.pipeline});
    EXPECT_LT(c.data, 3);
    EXPECT_LT(c.tensor, 2);
    EXPECT_LT(c.pipeline, 4);
  }
  EXPECT_EQ(seen.size(), 24u);
  EXPECT_EQ(coordinates(m, 0), (Coordinates{0, 0, 0}));
  EXPECT_EQ(coordinates(m, 1), (Coordinates{0, 1, 0}));
  EXPECT_EQ(coordinates(m, 2), (Coordinates{1, 0, 0}));
  EXPECT_EQ(coordinates(m, 6), (Coordinates{0, 0, 1}));
}

TEST(Mesh, ContextRanksStandBetweenTensorAndData) {
  const Mesh m{2, 2, 2, 3};
  std::set<std::array<int64_t, 4>> seen;
  for (int64_t r = 0; r < m.ranks(); ++r) {
    const Coordinates c = coordinates(m, r);
    seen.insert({c.data, c.tensor, c.pipeline, c.context});
  }
  EXPECT_EQ(seen.size(), 24u);
  EXPECT_EQ(coordinates(m, 1), (Coordinates{0, 1, 0, 0}));
  EXPECT_EQ(coordinates(m, 2), (Coordinates{0, 0, 0, 1}));
  EXPECT_EQ(coordinates(m, 6), (Coordinates{1, 0, 0, 0}));
  EXPECT_EQ(coordinates(m, 12), (Coordinates{0, 0, 1, 0}));
}

}  // namespace
}  // namespace puyu
