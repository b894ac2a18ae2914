// TensorBoard files are read back with a decoder of our own that shares nothing with the writer: bitwise CRC-32C and a
// general protobuf walk.
#include "train/run_log.h"

#include <cstring>
#include <map>

#include "train/tensorboard.h"
#include "train/train_test_util.h"

namespace puyu {
namespace {
using namespace test;

uint32_t slow_masked_crc(std::string_view s) {
  uint32_t c = 0xffffffff;
  for (unsigned char b : s)
    for (int i = 0; i < 8; ++i) {
      const uint32_t bit = (c ^ (b >> i)) & 1;
      c = (c >> 1) ^ (bit * 0x82f63b78);
    }
  c = ~c;
  return ((c >> 15) | (c << 17)) + 0xa282ead8;
}

// Fields of one message: number -> values, each as raw bytes (varints as 8 bytes).
std::multimap<int, std::string> decode(std::string_view s) {
  std::multimap<int, std::string> out;
  auto varint = [&] {
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
      const auto b = static_cast<uint8_t>(s.at(0));
      s.remove_prefix(1);
      v |= uint64_t{b & 127u} << shift;
      if (b < 128) return v;
    }
  };
  while (!s.empty()) {
    const uint64_t key = varint();
    uint64_t n = key % 8 == 1 ? 8 : key % 8 == 5 ? 4 : 0;
    if (key % 8 == 0) {
      uint64_t v = varint();
      out.emplace(key / 8, std::string(reinterpret_cast<char*>(&v), 8));
      continue;
    }
    if (key % 8 == 2) n = varint();
    out.emplace(key / 8, std::string(s.substr(0, n)));
    s.remove_prefix(n);
  }
  return out;
}
template <class T>
T as(const std::string& s) {
  T v{};
  EXPECT_EQ(s.size(), sizeof v);
  std::memcpy(&v, s.data(), sizeof v);
  return v;
}

std::vector<std::string> records(std::string_view s) {
  std::vector<std::string> out;
  while (!s.empty()) {
    uint64_t n = as<uint64_t>(std::string(s.substr(0, 8)));
    EXPECT_EQ(as<uint32_t>(std::string(s.substr(8, 4))), slow_masked_crc(s.substr(0, 8)));
    out.emplace_back(s.substr(12, n));
    EXPECT_EQ(as<uint32_t>(std::string(s.substr(12 + n, 4))), slow_masked_crc(out.back()));
    s.remove_prefix(16 + n);
  }
  return out;
}

class RunLogTest : public FolderTest {
 protected:
  StepMetrics metrics(int64_t step) {
    StepMetrics m;
    m.step = step, m.phase = "long", m.loss = 3.25 + 0.1 * step, m.accuracy = 0.125, m.grad_norm = 1.5, m.lr = 3e-4;
    m.tokens = 100, m.consumed_tokens = 100 * step, m.tgs = 1000, m.time = 1.7e9 + step;
    if (step % 2 == 0) m.valid = {{"中文", 2.5, 0.25, 50}};
    return m;
  }
  std::string events() { return read_file(dir + "/tensorboard/events.out.tfevents.0000000000.puyu"); }
};

TEST_F(RunLogTest, Crc32cKnownAnswer) { EXPECT_EQ(crc32c("123456789"), 0xe3069283u); }

TEST_F(RunLogTest, TensorBoardReadsBack) {
  RunLog log(dir, 0);
  for (int64_t s : {1, 2, 300}) log.add(metrics(s));
  auto list = records(events());
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(decode(list[0]).find(3)->second, "brain.Event:2");
  auto event = decode(list[3]);
  EXPECT_EQ(as<double>(event.find(1)->second), 1.7e9 + 300);
  EXPECT_EQ(as<uint64_t>(event.find(2)->second), 300u);
  auto summary = decode(event.find(5)->second);
  std::map<std::string, float> values;
  for (const auto& [field, bytes] : summary) {
    auto v = decode(bytes);
    values[v.find(1)->second] = as<float>(v.find(2)->second);
  }
  EXPECT_FLOAT_EQ(values.at("train/loss"), 33.25f);
  EXPECT_FLOAT_EQ(values.at("train/lr"), 3e-4f);
  EXPECT_FLOAT_EQ(values.at("valid/loss/中文"), 2.5f);
}

TEST_F(RunLogTest, ResumeDropsStepsAfterTheCheckpointAndHalfALine) {
  {
    RunLog log(dir, 0);
    for (int64_t s = 1; s <= 5; ++s) log.add(metrics(s));
  }
  append_file(dir + "/metrics.jsonl", "{\"step\": 6, \"ph");
  RunLog log(dir, 3);
  log.add(metrics(4));
  const std::string text = read_file(dir + "/metrics.jsonl");
  RunLog again(dir, 4);
  ASSERT_EQ(again.steps().size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(to_json(again.steps()[i]), to_json(metrics(static_cast<int64_t>(i) + 1)));
  EXPECT_EQ(read_file(dir + "/metrics.jsonl"), text);
  EXPECT_EQ(records(events()).size(), 5u);
}

}  // namespace
}  // namespace puyu
