// For tests: model folders as Hugging Face's programs write them: shards, LLaMA's names, f16.
#pragma once
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/weights.h"

namespace puyu {

inline uint16_t half_bits(float f) {  // of a normal half or zero
  if (f == 0) return 0;
  const auto u = std::bit_cast<uint32_t>(f);
  const int exponent = static_cast<int>((u >> 23) & 255) - 112;
  CHECK(exponent > 0 && (u & 0x1fff) == 0);
  return static_cast<uint16_t>((u >> 16 & 0x8000) | static_cast<uint32_t>(exponent) << 10 | (u >> 13 & 1023));
}

// Tensors of a folder in the making; owns their bytes.
struct Files {
  std::vector<std::vector<char>> bytes;
  std::vector<NamedTensor> list;
  void add(const std::string& name, Tensor f32, DType dtype) {
    std::vector<char>& b = bytes.emplace_back(static_cast<size_t>(f32.numel() * dtype_size(dtype)));
    for (int64_t i = 0; i < f32.numel(); ++i) {
      const float f = f32.as<float>()[i];
      const uint16_t two = dtype == DType::kF16 ? half_bits(f) : to_bf16(f).bits;
      if (dtype == DType::kF32)
        std::memcpy(b.data() + 4 * i, &f, 4);
      else
        std::memcpy(b.data() + 2 * i, &two, 2);
    }
    Tensor t = f32;
    t.dtype = dtype, t.data = b.data();
    list.push_back({name, t});
  }
  // In this many shards with an index, or one file.
  void write(const std::string& dir, size_t shards) {
    make_directories(dir);
    if (shards == 1) {
      write_safetensors(dir + "/model.safetensors", list, {{"format", "pt"}});
      return;
    }
    Json index = Json::object();
    for (size_t s = 0; s < shards; ++s) {
      const std::string file = cat("model-0000", s + 1, "-of-0000", shards, ".safetensors");
      std::vector<NamedTensor> part;
      for (size_t i = s; i < list.size(); i += shards)
        part.push_back(list[i]), index["weight_map"][list[i].name] = file;
      write_safetensors(dir + "/" + file, part, {{"format", "pt"}});
    }
    write_file(dir + "/model.safetensors.index.json", index.dump());
  }
};

inline Files ours(Weights& w, DType dtype) {
  Files out;
  w.master.tensors.each(w.config, w.head,
                        [&](const std::string& name, Tensor& t, Spec, int64_t) { out.add(name, t, dtype); });
  return out;
}

// q, k and v apart, under LLaMA's names, written down by hand.
inline Files llamas(Weights& w, DType dtype) {
  Files out;
  const ModelConfig& c = w.config;
  Model<Tensor>& m = w.master.tensors;
  out.add("model.embed_tokens.weight", m.tok_embeddings, dtype);
  for (size_t l = 0; l < m.layers.size(); ++l) {
    const std::string at = cat("model.layers.", l, ".");
    const int64_t hd = c.hd(), group = c.num_heads / c.num_kv_heads;
    auto take = [&](const Tensor& joined, const std::string& kind) {
      const int64_t cols = joined.rank > 1 ? joined.shape[1] : 1;
      std::vector<float> q, k, v;
      for (int64_t head = 0; head < (group + 2) * c.num_kv_heads; ++head) {  // rows of wqkv: q0 q1 k0 v0 q2 q3 k1 v1
        const int64_t slot = head % (group + 2);
        std::vector<float>& to = slot < group ? q : slot == group ? k : v;
        const float* from = joined.as<float>() + head * hd * cols;
        to.insert(to.end(), from, from + hd * cols);
      }
      for (auto [which, x] : {std::pair{"q", &q}, {"k", &k}, {"v", &v}}) {
        const int64_t rows = static_cast<int64_t>(x->size()) / cols;
        out.add(cat(at, "self_attn.", which, "_proj.", kind),
                kind == "bias" ? make_view(x->data(), rows) : make_view(x->data(), rows, cols), dtype);
      }
    };
    take(m.layers[l].wqkv, "weight");
    if (c.qkv_bias) take(m.layers[l].wqkv_bias, "bias");
    if (c.wo_bias) out.add(at + "self_attn.o_proj.bias", m.layers[l].wo_bias, dtype);
    out.add(at + "self_attn.o_proj.weight", m.layers[l].wo, dtype);
    out.add(at + "mlp.gate_proj.weight", m.layers[l].w1, dtype);
    out.add(at + "mlp.up_proj.weight", m.layers[l].w3, dtype);
    out.add(at + "mlp.down_proj.weight", m.layers[l].w2, dtype);
    out.add(at + "input_layernorm.weight", m.layers[l].attention_norm, dtype);
    out.add(at + "post_attention_layernorm.weight", m.layers[l].ffn_norm, dtype);
  }
  out.add("model.norm.weight", m.norm, dtype);
  if (!c.tie_embeddings) out.add("lm_head.weight", m.output, dtype);
  return out;
}

}  // namespace puyu
