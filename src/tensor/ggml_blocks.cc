#include "tensor/ggml_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "tensor/dtype.h"

namespace puyu {
namespace {

float half_at(const uint8_t* p) {
  uint16_t bits = 0;
  std::memcpy(&bits, p, 2);
  return to_float(F16{bits});
}
void put_half(uint8_t* p, float f) {
  const uint16_t bits = f16_bits(f);
  std::memcpy(p, &bits, 2);
}

// One block: 32 numbers (the old formats) or 256 (those ending in _k).

void decode_q4_0(const uint8_t* b, float* y) {  // d, 16 bytes: x = d (q - 8)
  const float d = half_at(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}
void decode_q4_1(const uint8_t* b, float* y) {  // d, m, 16 bytes: x = d q + m
  const float d = half_at(b), m = half_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(b[4 + i] & 15) + m;
    y[i + 16] = d * static_cast<float>(b[4 + i] >> 4) + m;
  }
}
// The fifth bits of all 32 numbers stand in four bytes of their own.
int fifth(uint32_t high, int i) { return static_cast<int>(high >> i & 1) << 4; }
void decode_q5_0(const uint8_t* b, float* y) {
  const float d = half_at(b);
  uint32_t high = 0;
  std::memcpy(&high, b + 2, 4);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(((b[6 + i] & 15) | fifth(high, i)) - 16);
    y[i + 16] = d * static_cast<float>(((b[6 + i] >> 4) | fifth(high, i + 16)) - 16);
  }
}
void decode_q5_1(const uint8_t* b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  uint32_t high = 0;
  std::memcpy(&high, b + 4, 4);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((b[8 + i] & 15) | fifth(high, i)) + m;
    y[i + 16] = d * static_cast<float>((b[8 + i] >> 4) | fifth(high, i + 16)) + m;
  }
}
void decode_q8_0(const uint8_t* b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

// Scale and minimum j of 8, six bits each, packed in 12 bytes.
void scale_and_min(const uint8_t* s, int j, int& scale, int& min) {
  if (j < 4) {
    scale = s[j] & 63, min = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    min = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
  }
}
// d, dmin, 12 bytes of scales and minima, [32 bytes of fifth bits,] 128 bytes of nibbles.
void decode_k45(const uint8_t* b, float* y, bool five) {
  const float d = half_at(b), dmin = half_at(b + 2);
  const uint8_t *scales = b + 4, *high = b + 16, *low = b + (five ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    int scale = 0, min = 0;
    scale_and_min(scales, j, scale, min);
    const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(min);
    for (int i = 0; i < 32; ++i) {
      const int nibble = j % 2 ? low[j / 2 * 32 + i] >> 4 : low[j / 2 * 32 + i] & 15;
      *y++ = s * static_cast<float>(nibble + (five && (high[i] >> j & 1) ? 16 : 0)) - m;
    }
  }
}
void decode_q4_k(const uint8_t* b, float* y) { decode_k45(b, y, false); }
void decode_q5_k(const uint8_t* b, float* y) { decode_k45(b, y, true); }
// 128 bytes of low nibbles, 64 of high pairs, 16 scales, d.
void decode_q6_k(const uint8_t* b, float* y) {
  const uint8_t *low = b, *high = b + 128;
  const auto* scales = reinterpret_cast<const int8_t*>(b + 192);
  const float d = half_at(b + 208);
  for (int half = 0; half < 2; ++half, low += 64, high += 32, scales += 8, y += 128)
    for (int i = 0; i < 32; ++i)
      for (int k = 0; k < 4; ++k) {
        const int nibble = k < 2 ? low[i + 32 * k] & 15 : low[i + 32 * (k - 2)] >> 4;
        const int q = (nibble | (high[i] >> (2 * k) & 3) << 4) - 32;
        const int group = i / 16 + 2 * k;
        const auto scale = static_cast<float>(scales[group]);
        y[i + 32 * k] = d * scale * static_cast<float>(q);
      }
}

void encode_q8_0(const float* x, uint8_t* b) {
  float most = 0;
  for (int i = 0; i < 32; ++i) most = std::max(most, std::fabs(x[i]));
  const float d = most / 127, inverse = d != 0 ? 1 / d : 0;
  put_half(b, d);
  for (int i = 0; i < 32; ++i) b[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
}
void encode_q4_0(const float* x, uint8_t* b) {
  float most = 0;  // of the largest size, with its sign: it becomes -8
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  const float d = most / -8, inverse = d != 0 ? 1 / d : 0;
  put_half(b, d);
  auto quantised = [&](float v) { return static_cast<uint8_t>(std::min(15, static_cast<int>(v * inverse + 8.5f))); };
  for (int i = 0; i < 16; ++i) b[2 + i] = static_cast<uint8_t>(quantised(x[i]) | quantised(x[i + 16]) << 4);
}

// The offset and scale of 32 numbers for which scale q + offset, q in 0 … 15, is nearest to them: for each of some
// ranges a little narrower or wider than theirs, their q and then the least squares of both. Large numbers count more,
// as llama.cpp weighs them. offset <= 0.
struct Fit {
  float scale = 0, offset = 0;
};
Fit fit_k(const float* x) {
  float low = 0, high = x[0], squares = 0;
  for (int i = 0; i < 32; ++i) low = std::min(low, x[i]), high = std::max(high, x[i]), squares += x[i] * x[i];
  if (!(high > low)) return {0, low};
  const float rms = std::sqrt(squares / 32);
  Fit best;
  float least = INFINITY;
  for (int step = -10; step <= 10; ++step) {
    const float inverse = (15 + 0.1f * static_cast<float>(step)) / (high - low);
    float q[32], w[32], sw = 0, sq = 0, sqq = 0, sx = 0, sqx = 0;
    for (int i = 0; i < 32; ++i) {
      q[i] = std::clamp(std::nearbyint(inverse * (x[i] - low)), 0.0f, 15.0f);
      w[i] = rms + std::fabs(x[i]);
      sw += w[i], sq += w[i] * q[i], sqq += w[i] * q[i] * q[i], sx += w[i] * x[i], sqx += w[i] * q[i] * x[i];
    }
    Fit f;
    if (const float det = sw * sqq - sq * sq; det > 0)
      f = {(sw * sqx - sq * sx) / det, (sqq * sx - sq * sqx) / det};
    else
      continue;
    if (f.offset > 0) f = {sqx / sqq, 0};
    float error = 0;
    for (int i = 0; i < 32; ++i) {
      const float d = f.scale * q[i] + f.offset - x[i];
      error += w[i] * d * d;
    }
    if (error < least) least = error, best = f;
  }
  return least < INFINITY ? best : Fit{(high - low) / 15, low};
}

// The 32 numbers as nibbles of scale q - min; the squared error.
float encode_k(const float* x, float scale, float min, uint8_t* q) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  float error = 0;
  for (int i = 0; i < 32; ++i) {
    const float v = std::clamp(std::nearbyint((x[i] + min) * inverse), 0.0f, 15.0f);
    const float d = scale * v - min - x[i];
    q[i] = static_cast<uint8_t>(v), error += d * d;
  }
  return error;
}
int six_bits(float v) { return static_cast<int>(std::clamp(std::nearbyint(v), 0.0f, 63.0f)); }

// Scales and minima share d and dmin in six bits; of each pair also the neighbours are tried.
void encode_q4_k(const float* x, uint8_t* b) {
  Fit fits[8];
  float most_scale = 0, most_min = 0;
  for (int j = 0; j < 8; ++j) {
    fits[j] = fit_k(x + 32 * j);
    most_scale = std::max(most_scale, fits[j].scale), most_min = std::max(most_min, -fits[j].offset);
  }
  put_half(b, most_scale / 63), put_half(b + 2, most_min / 63);
  const float d = half_at(b), dmin = half_at(b + 2);
  uint8_t *scales = b + 4, *low = b + 16;
  std::memset(scales, 0, 12 + 128);
  for (int j = 0; j < 8; ++j) {
    const int s0 = d > 0 ? six_bits(fits[j].scale / d) : 0, m0 = dmin > 0 ? six_bits(-fits[j].offset / dmin) : 0;
    uint8_t q[32], best_q[32] = {};
    int scale = s0, min = m0;
    float least = INFINITY;
    for (int s = std::max(0, s0 - 1); s <= std::min(63, s0 + 1); ++s)
      for (int m = std::max(0, m0 - 1); m <= std::min(63, m0 + 1); ++m) {
        const float error = encode_k(x + 32 * j, d * static_cast<float>(s), dmin * static_cast<float>(m), q);
        if (error < least) least = error, scale = s, min = m, std::memcpy(best_q, q, 32);
      }
    if (j < 4) {
      scales[j] = static_cast<uint8_t>(scales[j] | scale), scales[j + 4] = static_cast<uint8_t>(scales[j + 4] | min);
    } else {
      scales[j + 4] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
      scales[j - 4] = static_cast<uint8_t>(scales[j - 4] | (scale >> 4) << 6);
      scales[j] = static_cast<uint8_t>(scales[j] | (min >> 4) << 6);
    }
    for (int i = 0; i < 32; ++i) {
      uint8_t& byte = low[j / 2 * 32 + i];
      byte = static_cast<uint8_t>(byte | best_q[i] << (j % 2 * 4));
    }
  }
}

struct Codec {
  GgmlType type;
  GgmlFormat format;
  void (*decode)(const uint8_t*, float*);
  void (*encode)(const float*, uint8_t*);
};
const Codec kCodecs[] = {
    {GgmlType::kF32,
     {"f32", 1, 4},
     [](const uint8_t* b, float* y) { std::memcpy(y, b, 4); },
     [](const float* x, uint8_t* b) { std::memcpy(b, x, 4); }},
    {GgmlType::kF16,
     {"f16", 1, 2},
     [](const uint8_t* b, float* y) { *y = half_at(b); },
     [](const float* x, uint8_t* b) { put_half(b, *x); }},
    {GgmlType::kBF16,
     {"bf16", 1, 2},
     [](const uint8_t* b, float* y) { *y = to_float(BF16{static_cast<uint16_t>(b[0] | b[1] << 8)}); },
     [](const float* x, uint8_t* b) {
       const uint16_t bits = to_bf16(*x).bits;
       std::memcpy(b, &bits, 2);
     }},
    {GgmlType::kQ8_0, {"q8_0", 32, 34}, decode_q8_0, encode_q8_0},
    {GgmlType::kQ4_0, {"q4_0", 32, 18}, decode_q4_0, encode_q4_0},
    {GgmlType::kQ4_1, {"q4_1", 32, 20}, decode_q4_1, nullptr},
    {GgmlType::kQ5_0, {"q5_0", 32, 22}, decode_q5_0, nullptr},
    {GgmlType::kQ5_1, {"q5_1", 32, 24}, decode_q5_1, nullptr},
    {GgmlType::kQ4_K, {"q4_k", 256, 144}, decode_q4_k, encode_q4_k},
    {GgmlType::kQ5_K, {"q5_k", 256, 176}, decode_q5_k, nullptr},
    {GgmlType::kQ6_K, {"q6_k", 256, 210}, decode_q6_k, nullptr},
};
const Codec* codec(GgmlType type) {
  for (const Codec& c : kCodecs)
    if (c.type == type) return &c;
  return nullptr;
}

}  // namespace

const GgmlFormat* ggml_format(GgmlType type) {
  const Codec* c = codec(type);
  return c ? &c->format : nullptr;
}

GgmlType ggml_type(const std::string& name) {
  std::string known;
  for (const Codec& c : kCodecs) {
    if (!c.encode) continue;
    if (name == c.format.name) return c.type;
    known += (known.empty() ? "" : ", ") + std::string(c.format.name);
  }
  fail("[gguf] expected one of ", known, ", got '", name, "'");
}

void ggml_decode(GgmlType type, const void* from, int64_t n, float* to) {
  const Codec* c = codec(type);
  CHECK(c && n % c->format.block == 0);
  const auto* b = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < n; i += c->format.block, b += c->format.bytes) c->decode(b, to + i);
}

void ggml_encode(GgmlType type, const float* from, int64_t n, void* to) {
  const Codec* c = codec(type);
  CHECK(c && c->encode && n % c->format.block == 0);
  auto* b = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; i += c->format.block, b += c->format.bytes) c->encode(from + i, b);
}

uint16_t f16_bits(float f) {
  const auto u = std::bit_cast<uint32_t>(f);
  const auto sign = static_cast<uint16_t>(u >> 16 & 0x8000);
  const uint32_t magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);   // NaN
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more
  if (magnitude < 0x38800000) {                                              // below 2^-14: subnormal, steps of 2^-24
    const float steps = std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p24f);
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(steps));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

}  // namespace puyu
