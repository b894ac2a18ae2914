#include "train/tensorboard.h"

#include <array>
#include <bit>

namespace puyu {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0u);  // Castagnoli, reflected
    t[i] = c;
  }
  return t;
}
constexpr auto kCrcTable = make_crc_table();

uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

template <class T>
void put(std::string& out, T v) {  // little endian
  auto bits = std::bit_cast<std::array<char, sizeof(T)>>(v);
  out.append(bits.data(), bits.size());
}
void put_varint(std::string& out, uint64_t v) {
  for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
  out += static_cast<char>(v);
}
// protobuf: key = field number << 3 | wire type (0 varint, 1 fixed64, 2 bytes, 5 fixed32)
void put_bytes(std::string& out, int field, std::string_view v) {
  put_varint(out, static_cast<uint64_t>(field << 3 | 2));
  put_varint(out, v.size());
  out += v;
}
std::string event(double wall_time) {
  std::string e(1, static_cast<char>(1 << 3 | 1));
  put(e, wall_time);
  return e;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t c = ~0u;
  for (char b : bytes) c = kCrcTable[(c ^ static_cast<uint8_t>(b)) & 255] ^ (c >> 8);
  return ~c;
}

std::string tfrecord(std::string_view bytes) {
  std::string out;
  put(out, static_cast<uint64_t>(bytes.size()));
  put(out, masked(crc32c(out)));
  out += bytes;
  put(out, masked(crc32c(bytes)));
  return out;
}

std::string tensorboard_header(double wall_time) {
  std::string e = event(wall_time);
  put_bytes(e, 3, "brain.Event:2");
  return tfrecord(e);
}

std::string tensorboard_scalars(double wall_time, int64_t step,
                                const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, v] : scalars) {
    std::string value;
    put_bytes(value, 1, tag);
    value += static_cast<char>(2 << 3 | 5);
    put(value, static_cast<float>(v));
    put_bytes(summary, 1, value);
  }
  std::string e = event(wall_time);
  e += static_cast<char>(2 << 3);
  put_varint(e, static_cast<uint64_t>(step));
  put_bytes(e, 5, summary);
  return tfrecord(e);
}

}  // namespace puyu
