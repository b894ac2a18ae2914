// Quantised matrices as other programs store them, built here by packers that share nothing with the reader.
#include "model/quantized.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/rng.h"

namespace puyu {
namespace {

constexpr int64_t N = 24, K = 256, G = 2;

// What a file is to mean: w[n][k] = scale[n][g] (q[n][k] - zero[n][g]).
struct Numbers {
  std::vector<int> q = std::vector<int>(N * K), zero = std::vector<int>(N * G);
  std::vector<float> scale = std::vector<float>(N * G);
  explicit Numbers(uint64_t seed, bool symmetric = false) {
    Rng rng(seed);
    for (int& v : q) v = static_cast<int>(rng.below(16));
    for (int& v : zero) v = symmetric ? 8 : static_cast<int>(rng.below(16));
    for (float& v : scale) v = static_cast<float>(1 + rng.below(1000)) / 1024;  // f16 holds it
  }
};

struct Store {
  std::map<std::string, std::vector<uint8_t>> bytes;
  std::map<std::string, Tensor> tensors;
  template <class T>
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    std::vector<uint8_t>& b = bytes[name];
    b.resize(values.size() * sizeof(T));
    std::memcpy(b.data(), values.data(), b.size());
    Tensor t;
    t.data = b.data(), t.dtype = dtype;
    for (int64_t s : shape) t.shape[t.rank++] = s;
    tensors[name] = t;
  }
  FindTensor find() const {
    return [this](const std::string& name) {
      const auto it = tensors.find(name);
      return it == tensors.end() ? nullptr : &it->second;
    };
  }
};

uint16_t half_of(float f) {  // of k / 1024 with 0 < k <= 1000
  int exponent = 0;
  const float m = std::frexp(f, &exponent);  // in [0.5, 1)
  return static_cast<uint16_t>((exponent - 1 + 15) << 10 | static_cast<int>((2 * m - 1) * 1024));
}
std::vector<uint16_t> transposed_halves(const Numbers& v) {
  std::vector<uint16_t> out;
  for (int64_t g = 0; g < G; ++g)
    for (int64_t n = 0; n < N; ++n) out.push_back(half_of(v.scale[n * G + g]));
  return out;
}

Store gptq(const Numbers& v, int less) {
  Store s;
  std::vector<int32_t> q(K / 8 * N), z(G * N / 8), index(K);
  for (int64_t k = 0; k < K; ++k) {
    index[k] = static_cast<int32_t>(k / 128);
    for (int64_t n = 0; n < N; ++n)
      q[k / 8 * N + n] |= static_cast<int32_t>(static_cast<uint32_t>(v.q[n * K + k]) << (k % 8 * 4));
  }
  for (int64_t g = 0; g < G; ++g)
    for (int64_t n = 0; n < N; ++n) {
      const auto stored = static_cast<uint32_t>(v.zero[n * G + g] - less) & 15;
      z[g * (N / 8) + n / 8] |= static_cast<int32_t>(stored << (n % 8 * 4));
    }
  s.add("m.qweight", DType::kI32, {K / 8, N}, q);
  s.add("m.qzeros", DType::kI32, {G, N / 8}, z);
  s.add("m.scales", DType::kF16, {G, N}, transposed_halves(v));
  s.add("m.g_idx", DType::kI32, {K}, index);
  return s;
}

Store awq(const Numbers& v) {
  const int place[] = {0, 4, 1, 5, 2, 6, 3, 7};  // of column j among the nibbles: the inverse of 0 2 4 6 1 3 5 7
  Store s;
  std::vector<int32_t> q(K * N / 8), z(G * N / 8);
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t k = 0; k < K; ++k)
      q[k * (N / 8) + n / 8] |= static_cast<int32_t>(static_cast<uint32_t>(v.q[n * K + k]) << (4 * place[n % 8]));
    for (int64_t g = 0; g < G; ++g)
      z[g * (N / 8) + n / 8] |= static_cast<int32_t>(static_cast<uint32_t>(v.zero[n * G + g]) << (4 * place[n % 8]));
  }
  s.add("m.qweight", DType::kI32, {K, N / 8}, q);
  s.add("m.qzeros", DType::kI32, {G, N / 8}, z);
  s.add("m.scales", DType::kF16, {G, N}, transposed_halves(v));
  return s;
}

QuantizationConfig config(const std::string& inner) {
  return parse_quantization(Json::parse("{\"quantization_config\":" + inner + "}", "config.json"));
}
constexpr const char* kGptq = R"({"quant_method":"gptq","bits":4,"group_size":128,"desc_act":false,"sym":false})";
constexpr const char* kGptq2 =
    R"({"quant_method":"gptq","bits":4,"group_size":128,"desc_act":true,"checkpoint_format":"gptq_v2"})";
constexpr const char* kAwq = R"({"quant_method":"awq","bits":4,"group_size":128,"zero_point":true,"version":"gemm"})";

struct Room {
  Arena arena{"scratch", 1 << 24};
  Ctx ctx{Device::kCpu, &arena};
};

void expect_numbers(const QuantizedWeight& w, const Numbers& v, const std::string& what) {
  for (int64_t i = 0; i < N * K; ++i) ASSERT_EQ(static_cast<uint8_t*>(w.q.data)[i], v.q[i]) << what << " " << i;
  for (int64_t i = 0; i < N * G; ++i) {
    ASSERT_EQ(w.scale.as<float>()[i], v.scale[i]) << what << " " << i;
    ASSERT_EQ(w.zero.as<float>()[i], static_cast<float>(v.zero[i])) << what << " " << i;
  }
}

TEST(Quantized, ReadsGptqAndAwq) {
  Room room;
  for (uint64_t seed : {1, 2, 3})
    for (bool symmetric : {false, true}) {
      const Numbers v(seed, symmetric);
      expect_numbers(read_quantized(room.ctx, config(kGptq), gptq(v, 1).find(), "m", N, K), v, "gptq");
      expect_numbers(read_quantized(room.ctx, config(kGptq2), gptq(v, 0).find(), "m", N, K), v, "gptq_v2");
      expect_numbers(read_quantized(room.ctx, config(kAwq), awq(v).find(), "m", N, K), v, "awq");
    }
}

TEST(Quantized, DequantisesByTheFormula) {
  Room room;
  const Numbers v(4);
  const QuantizedWeight w = read_quantized(room.ctx, config(kAwq), awq(v).find(), "m", N, K);
  Tensor f = room.arena.alloc(DType::kF32, {N, K}), b = room.arena.alloc(DType::kBF16, {N, K});
  dequantize(w, f), dequantize(w, b);
  for (int64_t i = 0; i < N * K; ++i) {
    const int64_t g = i / K * G + i % K / 128;
    const float want = v.scale[g] * static_cast<float>(v.q[i] - v.zero[g]);
    ASSERT_EQ(f.as<float>()[i], want);
    ASSERT_EQ(b.as<BF16>()[i].bits, to_bf16(want).bits);
  }
}

TEST(Quantized, OursComesBackWithOddSizes) {
  Room room;
  for (int64_t k : {1, 7, 128, 300}) {
    Tensor w = room.arena.alloc(DType::kF32, {5, k});
    Rng rng(9);
    for (int64_t i = 0; i < w.numel(); ++i) w.as<float>()[i] = static_cast<float>(rng.normal());
    const QuantizedWeight q = quantize_weight(room.ctx, w, "w4a16");
    Store s;
    const std::string packed = pack_nibbles(q.q);
    s.add("m.qweight", DType::kU8, {5, (k + 1) / 2}, std::vector<char>(packed.begin(), packed.end()));
    std::vector<float> scale(q.scale.as<float>(), q.scale.as<float>() + q.scale.numel());
    std::vector<uint8_t> zero;
    for (int64_t i = 0; i < q.zero.numel(); ++i) zero.push_back(static_cast<uint8_t>(q.zero.as<float>()[i]));
    s.add("m.scales", DType::kF32, {5, quant_groups(k)}, scale);
    s.add("m.zeros", DType::kU8, {5, quant_groups(k)}, zero);
    const auto c = config(R"({"quant_method":"puyu","version":1,"scheme":"w4a8","bits":4,"group_size":128,"xxh3":""})");
    const QuantizedWeight r = read_quantized(room.ctx, c, s.find(), "m", 5, k);
    EXPECT_EQ(0, std::memcmp(r.q.data, q.q.data, static_cast<size_t>(q.q.numel())));
    for (int64_t i = 0; i < q.zero.numel(); ++i) EXPECT_EQ(r.zero.as<float>()[i], q.zero.as<float>()[i]);
    s.bytes["m.zeros"][0] = 16;
    EXPECT_THROW(read_quantized(room.ctx, c, s.find(), "m", 5, k), Error);
  }
}

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "nothing was refused";
}

TEST(Quantized, RefusesByKey) {
  const std::pair<const char*, const char*> bad[] = {
      {R"({"quant_method":"gptq","bits":3,"group_size":128})", "quantization_config.bits"},
      {R"({"quant_method":"gptq","bits":4,"group_size":64})", "quantization_config.group_size"},
      {R"({"quant_method":"gptq","bits":4})", "quantization_config.group_size"},
      {R"({"quant_method":"gptq","bits":4,"group_size":128,"checkpoint_format":"marlin"})", "checkpoint_format"},
      {R"({"quant_method":"awq","bits":4,"group_size":128,"version":"gemv"})", "quantization_config.version"},
      {R"({"quant_method":"awq","bits":4,"group_size":128,"zero_point":false})", "quantization_config.zero_point"},
      {R"({"quant_method":"bitsandbytes"})", "quantization_config.quant_method"},
      {R"({"quant_method":"puyu","version":2})", "quantization_config.version"},
      {R"({"quant_method":"puyu","version":1,"scheme":"w2"})", "quantization_config.scheme"}};
  for (auto [inner, key] : bad) EXPECT_NE(refusal([&] { config(inner); }).find(key), std::string::npos) << inner;

  Room room;
  const Numbers v(5);
  auto read = [&](const Store& s) {
    return refusal([&] { read_quantized(room.ctx, config(kGptq), s.find(), "m", N, K); });
  };
  Store s = gptq(v, 1);
  std::swap(s.tensors.at("m.g_idx").as<int32_t>()[3], s.tensors.at("m.g_idx").as<int32_t>()[200]);
  EXPECT_NE(read(s).find("desc_act"), std::string::npos);
  s = gptq(v, 1), s.tensors.erase("m.qzeros");
  EXPECT_NE(read(s).find("'m.qzeros' is missing"), std::string::npos);
  s = gptq(v, 1), s.tensors.at("m.scales").shape[0] = 1;
  EXPECT_NE(read(s).find("expected [2, 24]"), std::string::npos);
  s = gptq(v, 1), s.tensors.at("m.qweight").dtype = DType::kF32;
  EXPECT_NE(read(s).find("expected [32, 24] i32"), std::string::npos);
}

}  // namespace
}  // namespace puyu
