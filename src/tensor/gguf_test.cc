// GGUF files and ggml's blocks: written and read again, known bytes, and every way to be broken.
#include "tensor/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "tensor/dtype.h"

namespace puyu {
namespace {

TEST(GgmlBlocks, HalvesRoundAsIeeeAsks) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half comes back
    const float f = to_float(F16{static_cast<uint16_t>(bits)});
    if (std::isnan(f))
      EXPECT_TRUE(std::isnan(to_float(F16{f16_bits(f)})));
    else
      ASSERT_EQ(f16_bits(f), bits);
  }
  const std::pair<float, uint16_t> known[] = {
      {1, 0x3c00},          {-2, 0xc000},           {65504, 0x7bff},         {65519.99f, 0x7bff},
      {65520, 0x7c00},      {0x1p-14f, 0x0400},     {0x1p-24f, 0x0001},      {0x1p-25f, 0x0000},
      {0x1.8p-24f, 0x0002}, {1 + 0x1p-11f, 0x3c00}, {1 + 0x1.8p-10f, 0x3c02}};
  for (auto [f, want] : known) EXPECT_EQ(f16_bits(f), want) << f;
}

TEST(GgmlBlocks, KnownBlocks) {
  float x[32], y[32];
  for (int i = 0; i < 32; ++i) x[i] = static_cast<float>(i - 16);  // the largest is -16
  uint8_t q4[18], q8[34];
  ggml_encode(GgmlType::kQ4_0, x, 32, q4);
  EXPECT_EQ(q4[0] | q4[1] << 8, 0x4000);  // d = -16 / -8 = 2
  EXPECT_EQ(q4[2], 0 | 8 << 4);           // -16 -> 0; 0 -> 8
  EXPECT_EQ(q4[2 + 15], 8 | 15 << 4);     // -1 / 2 + 8.5 = 8; 15 / 2 + 8.5 = 16, cut to 15
  ggml_decode(GgmlType::kQ4_0, q4, 32, y);
  EXPECT_EQ(y[0], -16);
  EXPECT_EQ(y[31], 14);
  for (int i = 0; i < 32; ++i) x[i] = static_cast<float>(i * 8 - 127);
  x[31] = 127;
  ggml_encode(GgmlType::kQ8_0, x, 32, q8);
  EXPECT_EQ(q8[0] | q8[1] << 8, 0x3c00);
  EXPECT_EQ(static_cast<int8_t>(q8[2]), -127);
  ggml_decode(GgmlType::kQ8_0, q8, 32, y);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(y[i], x[i]);
  std::memset(x, 0, sizeof(x));
  for (GgmlType t : {GgmlType::kQ4_0, GgmlType::kQ8_0}) {
    ggml_encode(t, x, 32, q8);
    ggml_decode(t, q8, 32, y);
    for (float v : y) EXPECT_EQ(v, 0);
  }
}

// The blocks that are only read, worked out by hand from their layout.
// The encoder that q4_k must beat: each 32 numbers' own range in 15 steps, scales and minima rounded to six bits.
double min_max_error(const std::vector<float>& x) {
  float low[8], scale[8], most_scale = 0, most_low = 0;
  for (size_t j = 0; j < 8; ++j) {
    low[j] = std::min(0.0f, *std::min_element(x.begin() + 32 * j, x.begin() + 32 * j + 32));
    scale[j] = (*std::max_element(x.begin() + 32 * j, x.begin() + 32 * j + 32) - low[j]) / 15;
    most_scale = std::max(most_scale, scale[j]), most_low = std::max(most_low, -low[j]);
  }
  double sum = 0;
  for (size_t i = 0; i < 256; ++i) {
    const float d = most_scale / 63, m = most_low / 63;
    const float s = d > 0 ? d * std::nearbyint(scale[i / 32] / d) : 0,
                o = m > 0 ? m * std::nearbyint(-low[i / 32] / m) : 0;
    const float q = s > 0 ? std::clamp(std::nearbyint((x[i] + o) / s), 0.0f, 15.0f) : 0;
    sum += std::pow(static_cast<double>(s * q - o - x[i]), 2);
  }
  return sum;
}
std::vector<float> through_q4_k(const std::vector<float>& x) {
  std::vector<char> block(144);
  std::vector<float> y(256);
  ggml_encode(GgmlType::kQ4_K, x.data(), 256, block.data());
  ggml_decode(GgmlType::kQ4_K, block.data(), 256, y.data());
  return y;
}

TEST(GgmlBlocks, Q4KIsNearerThanItsRange) {
  Rng rng(4);
  double search = 0, naive = 0, worse = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<float> x(256);
    for (size_t i = 0; i < 256; ++i) {
      const double n = rng.normal();
      x[i] = static_cast<float>((round % 2 ? n : n * n * n) * 0.02 * (1 + static_cast<double>(i / 32)));
    }
    const std::vector<float> y = through_q4_k(x);
    double e = 0;
    for (size_t i = 0; i < 256; ++i) e += std::pow(static_cast<double>(x[i] - y[i]), 2);
    const double r = min_max_error(x);
    search += e / r, naive += 1, worse += e > r;
  }
  EXPECT_LT(search / naive, 0.9);
  EXPECT_LE(worse, 10);
}

TEST(GgmlBlocks, Q4KKeepsWhatItHolds) {
  Rng rng(6);
  for (int round = 0; round < 50; ++round) {  // what a block can hold comes back
    std::vector<uint8_t> block(144);
    for (uint8_t& b : block) b = static_cast<uint8_t>(rng.below(256));
    const uint16_t d = f16_bits(0.25f), dmin = f16_bits(0.5f);
    std::memcpy(block.data(), &d, 2), std::memcpy(block.data() + 2, &dmin, 2);
    std::vector<float> x(256);
    ggml_decode(GgmlType::kQ4_K, block.data(), 256, x.data());
    const std::vector<float> y = through_q4_k(x);
    double error = 0, size = 0;
    for (size_t i = 0; i < 256; ++i)
      error += std::pow(static_cast<double>(x[i] - y[i]), 2), size += std::pow(static_cast<double>(x[i]), 2);
    EXPECT_LT(error, 2e-3 * size) << round;
  }
  for (float v : {0.0f, 1.0f, -3.0f, 1e-30f, 6e4f}) {
    const std::vector<float> x(256, v), y = through_q4_k(x);
    for (float f : y) EXPECT_NEAR(f, v, std::fabs(v) * 1e-3 + 1e-7);
  }
}

TEST(GgmlBlocks, SuperBlocks) {
  std::vector<uint8_t> b(210, 0);
  std::vector<float> y(256);
  auto half = [&](size_t at, float f) {
    const uint16_t bits = f16_bits(f);
    std::memcpy(b.data() + at, &bits, 2);
  };
  half(0, 0.5f), half(2, 0.25f);
  b[4 + 1] = 3 | 1 << 6;   // scale 1 = 3, high bits of scale 5 = 1
  b[4 + 5] = 7;            // min 1 = 7
  b[4 + 9] = 2 | 4 << 4;   // low bits of scale 5 = 2, of min 5 = 4
  b[16 + 10] = 0x50;       // sub-block 1, number 10: the high nibble of byte 10
  b[16 + 64 + 31] = 0x90;  // sub-block 5, number 31
  ggml_decode(GgmlType::kQ4_K, b.data(), 256, y.data());
  EXPECT_EQ(y[32 + 10], 0.5f * 3 * 5 - 0.25f * 7);
  EXPECT_EQ(y[32 + 11], -0.25f * 7);
  EXPECT_EQ(y[160 + 31], 0.5f * 18 * 9 - 0.25f * 4);
  EXPECT_EQ(y[0], 0);
  std::vector<uint8_t> five(176, 0);
  std::memcpy(five.data(), b.data(), 16);
  five[16 + 10] = 1 << 1;  // the fifth bit of sub-block 1, number 10
  five[48 + 10] = 0x50;
  ggml_decode(GgmlType::kQ5_K, five.data(), 256, y.data());
  EXPECT_EQ(y[32 + 10], 0.5f * 3 * 21 - 0.25f * 7);
  std::fill(b.begin(), b.end(), 0);
  half(208, 2);
  b[192 + 8 + 1 + 4] = static_cast<uint8_t>(-3);  // second half, scale of numbers 64 + 16 … 64 + 31
  b[64 + 20] = 0x70;                              // its low nibbles: number 64 + 20 has the high nibble of byte 20
  b[128 + 32 + 20] = 2 << 4;
  ggml_decode(GgmlType::kQ6_K, b.data(), 256, y.data());
  EXPECT_EQ(y[128 + 64 + 20], 2.f * -3 * ((7 | 2 << 4) - 32));
  EXPECT_EQ(y[128 + 64 + 21], 2.f * -3 * -32);
  EXPECT_EQ(y[0], 0);
}

struct File {
  test::TempDir dir;
  std::string path = dir / "x.gguf";
  std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = std::vector<float>(64, 0.5f);
  void write() const {
    GgufMetadata m;
    m.add("general.architecture", "test");
    m.add_u32("n", 7);
    m.add_f32("f", 0.5);
    m.add_bool("yes", true);
    Json words = Json::array();
    words.push("a"), words.push("你好");
    m.add_array("words", GgufType::kString, words);
    auto bytes = [](const std::vector<float>& x, GgmlType t, size_t n) {
      std::string out(n, '\0');
      ggml_encode(t, x.data(), static_cast<int64_t>(x.size()), out.data());
      return out;
    };
    write_gguf(path, m,
               {{"a", GgmlType::kF32, {2, 3}, [&] { return bytes(a, GgmlType::kF32, 24); }},
                {"b", GgmlType::kQ8_0, {2, 32}, [&] { return bytes(b, GgmlType::kQ8_0, 68); }}});
  }
};

TEST(Gguf, WhatIsWrittenIsRead) {
  File f;
  f.write();
  const Gguf g(f.path);
  EXPECT_EQ(g.version(), 3u);
  EXPECT_EQ(g.text("general.architecture"), "test");
  EXPECT_EQ(g.integer("n"), 7);
  EXPECT_EQ(g.number("f", 0), 0.5);
  EXPECT_TRUE(g.boolean("yes", false));
  EXPECT_EQ(g.find("words")->as_array()[1], Json("你好"));
  EXPECT_EQ(g.integer("none", 3), 3);
  EXPECT_THROW(g.integer("none"), Error);
  EXPECT_THROW(g.text("n"), Error);
  const GgufTensor &a = g.tensors().at("a"), &b = g.tensors().at("b");
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(0, std::memcmp(a.data, f.a.data(), 24));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % 32, reinterpret_cast<uintptr_t>(a.data) % 32);
  std::vector<float> y(64);
  ggml_decode(b.type, b.data, 64, y.data());
  EXPECT_NEAR(y[63], 0.5f, 1e-3);
}

TEST(Gguf, CutAnywhereIsAnError) {
  File f;
  f.write();
  const std::string all = read_file(f.path);
  // The last tensor's padding is all that may be missing.
  for (size_t n = 0; n < all.size() - 28; ++n) {
    write_file(f.path, all.substr(0, n));
    EXPECT_THROW(Gguf{f.path}, Error) << n;
  }
}

TEST(Gguf, BrokenHeadersSayWhat) {
  File f;
  f.write();
  const std::string all = read_file(f.path);
  auto expect = [&](const std::string& part, const std::function<void(std::string&)>& spoil) {
    std::string bytes = all;
    spoil(bytes);
    write_file(f.path, bytes);
    try {
      Gguf g(f.path);
      ADD_FAILURE() << "expected an error with '" << part << "'";
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what(); }
  };
  expect("magic", [](std::string& s) { s[0] = 'X'; });
  expect("version", [](std::string& s) { s[4] = 9; });
  expect("impossible counts", [](std::string& s) { s[14] = 1; });
  expect("beyond the end", [](std::string& s) { s[24 + 6] = 1; });  // length of the first key
  expect("unknown type", [](std::string& s) { s[24 + 8 + 20] = 99; });
  const size_t tensor = all.find("\x01\0\0\0\0\0\0\0a\x02\0\0\0", 0, 13);
  ASSERT_NE(tensor, std::string::npos);
  expect("dimensions", [&](std::string& s) { s[tensor + 9] = 9; });
  expect("impossible shape", [&](std::string& s) { s[tensor + 13 + 7] = 0x70; });
  expect("ggml type 77", [&](std::string& s) { s[tensor + 13 + 16] = 77; });
  expect("not aligned", [&](std::string& s) { s[tensor + 13 + 20] = 1; });
  expect("outside the file", [&](std::string& s) { s[tensor + 13 + 22] = 1; });
}

}  // namespace
}  // namespace puyu
