#include "model/quantized.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"

namespace puyu {
namespace {

using Form = QuantizationConfig::Form;

int nibble(uint32_t word, int64_t i) { return static_cast<int>(word >> (4 * i) & 15); }

// A part of a matrix, checked.
struct Parts {
  const FindTensor& find;
  const std::string& base;
  Tensor get(const char* suffix, std::initializer_list<DType> types, std::initializer_list<int64_t> shape) const {
    const std::string name = base + suffix;
    const Tensor* t = find(name);
    if (!t) fail("tensor '", name, "' is missing");
    const bool type = std::find(types.begin(), types.end(), t->dtype) != types.end();
    if (!type || t->rank != static_cast<int>(shape.size()) || !std::equal(shape.begin(), shape.end(), t->shape)) {
      std::string want;
      for (int64_t n : shape) want += cat(want.empty() ? "[" : ", ", n);
      fail("tensor '", name, "': expected ", want, "] ", dtype_name(*types.begin()), ", got ", shape_string(*t));
    }
    return *t;
  }
};

// A hostile file's tensors may stand at any address.
template <class T>
T value_at(const Tensor& t, int64_t i) {
  T v;
  std::memcpy(&v, static_cast<const char*>(t.data) + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return v;
}
float number_at(const Tensor& t, int64_t i) {
  if (t.dtype == DType::kF16) return to_float(value_at<F16>(t, i));
  if (t.dtype == DType::kBF16) return to_float(value_at<BF16>(t, i));
  return value_at<float>(t, i);
}
uint32_t word_at(const Tensor& t, int64_t i) { return value_at<uint32_t>(t, i); }
Tensor copy_of(Ctx& ctx, const Tensor& t) {
  Tensor c = t;
  c.data = ctx.scratch->alloc(DType::kU8, {t.nbytes()}).data;
  std::memcpy(c.data, t.data, static_cast<size_t>(t.nbytes()));
  return c;
}

QuantizedWeight make_room(Ctx& ctx, int64_t N, int64_t K) {
  const int64_t groups = quant_groups(K);
  return {ctx.scratch->alloc(DType::kU8, {N, K}), ctx.scratch->alloc(DType::kF32, {N, groups}),
          ctx.scratch->alloc(DType::kF32, {N, groups})};
}
uint8_t* bytes_of(const Tensor& t) { return static_cast<uint8_t*>(t.data); }

QuantizedWeight read_ours(Ctx& ctx, const QuantizationConfig& c, const Parts& parts, int64_t N, int64_t K) {
  if (c.scheme == "w8a8") {
    QuantizedWeight w{
        parts.get(".qweight", {DType::kI8}, {N, K}), copy_of(ctx, parts.get(".scales", {DType::kF32}, {N})), {}};
    return w;
  }
  const int64_t groups = quant_groups(K), row = (K + 1) / 2;
  const Tensor q = parts.get(".qweight", {DType::kU8}, {N, row}), s = parts.get(".scales", {DType::kF32}, {N, groups}),
               z = parts.get(".zeros", {DType::kU8}, {N, groups});
  QuantizedWeight w = make_room(ctx, N, K);
  std::memcpy(w.scale.data, s.data, static_cast<size_t>(s.nbytes()));
  for (int64_t i = 0; i < N * groups; ++i) {
    const uint8_t zero = bytes_of(z)[i];
    if (zero > 15) fail("tensor '", parts.base, ".zeros': expected numbers up to 15, got ", static_cast<int>(zero));
    w.zero.as<float>()[i] = zero;
  }
  parallel_for((N + 63) / 64, [&](int64_t block) {
    for (int64_t n = block * 64; n < std::min(N, block * 64 + 64); ++n)
      for (int64_t k = 0; k < K; ++k)
        bytes_of(w.q)[n * K + k] = static_cast<uint8_t>(bytes_of(q)[n * row + k / 2] >> (k % 2 * 4) & 15);
  });
  return w;
}

// AutoGPTQ: qweight [K / 8, N], eight k a word; qzeros [groups, N / 8], eight n a word; scales [groups, N].
QuantizedWeight read_gptq(Ctx& ctx, const QuantizationConfig& c, const Parts& parts, int64_t N, int64_t K) {
  const int64_t groups = quant_groups(K);
  const Tensor q = parts.get(".qweight", {DType::kI32}, {K / 8, N}),
               z = parts.get(".qzeros", {DType::kI32}, {groups, N / 8}),
               s = parts.get(".scales", {DType::kF16, DType::kBF16, DType::kF32}, {groups, N});
  if (parts.find(parts.base + ".g_idx")) {
    const Tensor index = parts.get(".g_idx", {DType::kI32}, {K});
    for (int64_t k = 0; k < K; ++k)
      if (word_at(index, k) != static_cast<uint64_t>(k / kQuantGroup))
        fail("tensor '", parts.base, ".g_idx': element ", k, " stands in group ", word_at(index, k),
             "; groups in another order (quantization_config.desc_act) are not supported");
  }
  QuantizedWeight w = make_room(ctx, N, K);
  for (int64_t n = 0; n < N; ++n)
    for (int64_t g = 0; g < groups; ++g) {
      w.scale.as<float>()[n * groups + g] = number_at(s, g * N + n);
      // Of a zero point of 0 the packer leaves 15.
      const int zero = (nibble(word_at(z, g * (N / 8) + n / 8), n % 8) + (c.zeros_less_one ? 1 : 0)) & 15;
      w.zero.as<float>()[n * groups + g] = static_cast<float>(zero);
    }
  parallel_for((N + 63) / 64, [&](int64_t block) {
    for (int64_t r = 0; r < K / 8; ++r)
      for (int64_t n = block * 64; n < std::min(N, block * 64 + 64); ++n)
        for (int64_t i = 0; i < 8; ++i)
          bytes_of(w.q)[n * K + r * 8 + i] = static_cast<uint8_t>(nibble(word_at(q, r * N + n), i));
  });
  return w;
}

// AutoAWQ's gemm form: qweight [K, N / 8], qzeros [groups, N / 8], nibble i of a word holds column kAwqOrder[i].
QuantizedWeight read_awq(Ctx& ctx, const Parts& parts, int64_t N, int64_t K) {
  static constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  const int64_t groups = quant_groups(K), words = N / 8;
  const Tensor q = parts.get(".qweight", {DType::kI32}, {K, words}),
               z = parts.get(".qzeros", {DType::kI32}, {groups, words}),
               s = parts.get(".scales", {DType::kF16, DType::kBF16, DType::kF32}, {groups, N});
  QuantizedWeight w = make_room(ctx, N, K);
  parallel_for(words, [&](int64_t word) {
    for (int64_t i = 0; i < 8; ++i) {
      const int64_t n = word * 8 + kOrder[i];
      for (int64_t k = 0; k < K; ++k)
        bytes_of(w.q)[n * K + k] = static_cast<uint8_t>(nibble(word_at(q, k * words + word), i));
      for (int64_t g = 0; g < groups; ++g) {
        w.scale.as<float>()[n * groups + g] = number_at(s, g * N + n);
        w.zero.as<float>()[n * groups + g] = static_cast<float>(nibble(word_at(z, g * words + word), i));
      }
    }
  });
  return w;
}

}  // namespace

bool is_scheme(const std::string& name) { return name == "w8a8" || name == "w4a16" || name == "w4a8"; }

QuantizedWeight quantize_weight(Ctx& ctx, Tensor w, const std::string& scheme) {
  const int64_t N = w.size(0), K = w.size(1);
  if (scheme == "w8a8") {
    QuantizedWeight out{ctx.scratch->alloc(DType::kI8, {N, K}), ctx.scratch->alloc(DType::kF32, {N}), {}};
    quantize_rows(ctx, out.q, out.scale, w);
    return out;
  }
  CHECK(is_scheme(scheme));
  QuantizedWeight out = make_room(ctx, N, K);
  quantize_groups(ctx, out.q, out.scale, out.zero, w);
  return out;
}

void dequantize(const QuantizedWeight& w, Tensor to) {
  const int64_t N = w.q.size(0), K = w.q.size(1), groups = w.zero ? quant_groups(K) : 1;
  parallel_for((N + 63) / 64, [&](int64_t block) {
    for (int64_t i = block * 64 * K; i < std::min(N, block * 64 + 64) * K; ++i) {
      const int64_t g = i / K * groups + (w.zero ? i % K / kQuantGroup : 0);
      const int q = w.zero ? bytes_of(w.q)[i] : w.q.as<int8_t>()[i];
      const float x = w.scale.as<float>()[g] * (static_cast<float>(q) - (w.zero ? w.zero.as<float>()[g] : 0));
      if (to.dtype == DType::kF32)
        to.as<float>()[i] = x;
      else
        to.as<BF16>()[i] = to_bf16(x);
    }
  });
}

Tensor pack_quantized(Ctx& ctx, Arena& arena, const QuantizedWeight& w, DType act) {
  auto room = [&](int64_t bytes) { return arena.alloc(DType::kU8, {bytes}).data; };
  if (!w.zero) return pack_weight_int8(ctx, room(packed_weight_bytes(ctx, w.q)), w.q, w.scale);
  return pack_weight_int4(ctx, room(packed_int4_bytes(ctx, w.q.size(0), w.q.size(1), act)), w.q, w.scale, w.zero, act);
}

QuantizationConfig parse_quantization(const Json& config) {
  QuantizationConfig out;
  const Json* q = config.find("quantization_config");
  if (!q || q->is_null()) return out;
  auto key = [](const char* name) { return cat("quantization_config.", name); };
  const std::string method = q->get("quant_method", std::string());
  auto want = [&](const char* name, const Json& only) {
    const Json* v = q->find(name);
    if (!v || *v != only) fail(key(name), ": expected ", only.dump(), ", got ", v ? v->dump() : "nothing");
  };
  if (method == "puyu") {
    want("version", 1);
    out.form = Form::kPuyu;
    out.scheme = q->get("scheme", std::string());
    if (!is_scheme(out.scheme)) fail(key("scheme"), ": expected ", kSchemes, ", got '", out.scheme, "'");
    want("bits", out.scheme == "w8a8" ? 8 : 4);
    if (out.scheme != "w8a8") want("group_size", kQuantGroup);
    out.checksum = q->at("xxh3").as_string();
    return out;
  }
  if (method != "gptq" && method != "awq")
    fail(key("quant_method"), ": expected puyu, gptq or awq, got '", method, "'");
  want("bits", 4);
  want("group_size", kQuantGroup);
  out.scheme = "w4a16";
  if (method == "awq") {
    out.form = Form::kAwq;
    if (const std::string v = q->get("version", std::string("gemm")); v != "gemm" && v != "GEMM")
      fail(key("version"), ": expected gemm, got '", v, "'");
    if (!q->get("zero_point", true)) fail(key("zero_point"), ": expected true");
    return out;
  }
  out.form = Form::kGptq;
  const std::string format = q->get("checkpoint_format", std::string("gptq"));
  if (format != "gptq" && format != "gptq_v2")
    fail(key("checkpoint_format"), ": expected gptq or gptq_v2, got '", format, "'");
  out.zeros_less_one = format == "gptq";
  return out;
}

Json to_json(const QuantizationConfig& q) {
  Json j = Json::object();
  j["quant_method"] = "puyu";
  j["version"] = 1;
  j["scheme"] = q.scheme;
  j["bits"] = q.scheme == "w8a8" ? 8 : 4;
  if (q.scheme != "w8a8") j["group_size"] = kQuantGroup;
  j["xxh3"] = q.checksum;
  return j;
}

bool is_quantized_part(const QuantizationConfig& q, const std::string& name, std::string& base) {
  std::vector<const char*> list;
  if (q.form == Form::kPuyu) list = {".qweight", ".scales", ".zeros"};
  if (q.form == Form::kAwq) list = {".qweight", ".qzeros", ".scales"};
  if (q.form == Form::kGptq) list = {".qweight", ".qzeros", ".scales", ".g_idx"};
  for (const char* suffix : list)
    if (name.ends_with(suffix)) return base = name.substr(0, name.size() - std::strlen(suffix)), true;
  return false;
}

QuantizedWeight read_quantized(Ctx& ctx, const QuantizationConfig& q, const FindTensor& find, const std::string& base,
                               int64_t N, int64_t K) {
  const Parts parts{find, base};
  if (q.form == Form::kPuyu) return read_ours(ctx, q, parts, N, K);
  CHECK(q.form != Form::kNone);
  if (N % 8 || K % 8) fail("tensor '", base, ".qweight': expected sizes that are multiples of 8, got ", N, " by ", K);
  return q.form == Form::kGptq ? read_gptq(ctx, q, parts, N, K) : read_awq(ctx, parts, N, K);
}

std::string pack_nibbles(Tensor q) {
  const int64_t N = q.size(0), K = q.size(1), row = (K + 1) / 2;
  std::string out(static_cast<size_t>(N * row), '\0');
  parallel_for((N + 63) / 64, [&](int64_t block) {
    for (int64_t n = block * 64; n < std::min(N, block * 64 + 64); ++n)
      for (int64_t k = 0; k < K; ++k) {
        char& byte = out[static_cast<size_t>(n * row + k / 2)];
        byte = static_cast<char>(static_cast<uint8_t>(byte) | bytes_of(q)[n * K + k] << (k % 2 * 4));
      }
  });
  return out;
}

}  // namespace puyu
