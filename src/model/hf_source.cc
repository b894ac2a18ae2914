// Hugging Face folders: config.json with model.safetensors, or shards named by model.safetensors.index.json.
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/parallel.h"
#include "model/gguf_model.h"
#include "model/hf_config.h"
#include "model/hf_names.h"
#include "model/source.h"
#include "tensor/safetensors.h"

namespace puyu {
namespace {

constexpr const char* kIndex = "/model.safetensors.index.json";

void convert(Ctx& ctx, Tensor to, Tensor from) {
  if (from.dtype != DType::kF16) return cast(ctx, to, from);
  const auto* p = static_cast<const F16*>(from.data);
  const int64_t n = from.numel(), piece = 1 << 16;
  parallel_for((n + piece - 1) / piece, [&](int64_t i) {
    for (int64_t k = i * piece; k < std::min(n, (i + 1) * piece); ++k) {
      const float f = to_float(p[k]);
      if (to.dtype == DType::kF32)
        to.as<float>()[k] = f;
      else
        to.as<BF16>()[k] = to_bf16(f);
    }
  });
}

constexpr std::string_view kQkv = "attention.wqkv.";  // then weight or bias

class HfSource : public ModelSource {
 public:
  explicit HfSource(const std::string& folder) : path_(folder), config_(read_hf_config(folder)) {
    open_shards();
    check_names();
    dtype_ = find(file_name("model.tok_embeddings.weight")).dtype;
  }
  const ModelConfig& config() const override { return config_.model; }
  Head head() const override { return config_.head; }
  DType dtype() const override { return dtype_; }
  const std::string& path() const override { return path_; }
  std::string family() const override { return config_.family; }
  bool has(const std::string& name) const override { return quantized(name) || tensors_.contains(first_name(name)); }
  std::string scheme() const override { return config_.quantization.scheme; }
  bool quantized(const std::string& name) const override {
    return !scheme().empty() && tensors_.contains(base_name(first_name(name)) + ".qweight");
  }
  QuantizedWeight read_numbers(Ctx& ctx, const std::string& name) const override;
  void verify() const override;

  Tensor view(const std::string& name, DType dtype) const override {
    if (joined(name) || quantized(name)) return {};
    const Tensor& t = find(file_name(name));
    return t.dtype == dtype ? t : Tensor{};
  }

  void read(Ctx& ctx, const std::string& name, Tensor to) const override {
    if (quantized(name)) {
      ScratchScope scope(*ctx.scratch);
      const QuantizedWeight w = read_numbers(ctx, name);
      CHECK(w.q.numel() == to.numel());
      return dequantize(w, to);
    }
    if (joined(name)) return read_qkv(ctx, name, to);
    convert(ctx, to, shaped(file_name(name), to.rank, to.shape[0], to.shape[1]));
  }

 private:
  bool joined(const std::string& name) const { return config_.llama_names && name.find(kQkv) != name.npos; }
  std::string file_name(const std::string& name) const { return config_.llama_names ? llama_name(name) : name; }
  std::string part(std::string name, const char* which) const {  // q_proj, k_proj, v_proj
    return name.replace(name.find(kQkv), kQkv.size(), cat("self_attn.", which, "."));
  }
  static std::string base_name(const std::string& name) { return name.substr(0, name.rfind('.')); }
  std::string first_name(const std::string& name) const {
    return joined(name) ? part(name, "q_proj") : file_name(name);
  }

  void open_shards() {
    const std::string index = path_ + kIndex;
    std::set<std::string> files = {"model.safetensors"};
    std::map<std::string, std::string> where;
    if (file_exists(index)) {
      files.clear();
      try {
        const Json parsed = Json::parse(read_file(index), index);
        for (const auto& [name, file] : parsed.at("weight_map").as_object()) {
          const std::string& f = file.as_string();
          if (f.find('/') != std::string::npos || f.find('\\') != std::string::npos || !f.ends_with(".safetensors"))
            fail("weight_map: '", f, "' is no file name of a shard");
          where[name] = f, files.insert(f);
        }
      } catch (const Error& e) { fail("[model] ", index, ": ", e.what()); }
      if (files.empty()) fail("[model] ", index, ": weight_map names no shard");
    } else if (!file_exists(path_ + "/model.safetensors")) {
      fail("[model] '", path_, "' holds neither model.safetensors nor ", kIndex + 1,
           "; weights in pytorch_model.bin must be saved as safetensors first");
    }
    for (const std::string& f : files) {
      if (!file_exists(path_ + "/" + f)) fail("[model] ", index, ": the shard '", f, "' is missing from the folder");
      shards_.push_back(std::make_unique<SafeTensors>(path_ + "/" + f));
      for (const auto& [name, t] : shards_.back()->tensors()) {
        if (!where.empty() && (!where.contains(name) || where.at(name) != f))
          fail("[model] ", index, ": tensor '", name, "' stands in ", f, ", the index says ",
               where.contains(name) ? where.at(name) : "nothing of it");
        tensors_.emplace(name, t);
      }
    }
    for (const auto& [name, file] : where)
      if (!tensors_.contains(name)) fail("[model] ", index, ": tensor '", name, "' is not in ", file);
  }

  // A tensor that we would not use means that the model computes something that we would not.
  void check_names() const {
    std::set<std::string> expected = {"lm_head.weight", "output.weight",
                                      "v_head.weight"};  // tied or another head: unused
    Model<int> model;
    model.each(config_.model, config_.head, [&](const std::string& name, int&, Spec, int64_t) {
      if (!joined(name)) {
        expected.insert(file_name(name));
        return;
      }
      for (const char* which : {"q_proj", "k_proj", "v_proj"}) expected.insert(part(name, which));
    });
    std::string base;
    for (const auto& [name, t] : tensors_)
      if (is_quantized_part(config_.quantization, name, base) && expected.contains(base + ".weight")) {
        if (tensors_.contains(base + ".weight")) fail("[model] '", path_, "': '", base, "' stands there twice");
      } else if (!expected.contains(name) &&
                 !name.ends_with("rotary_emb.inv_freq"))  // old files keep RoPE's frequencies
        fail("[model] '", path_, "': tensor '", name, "' has no place in a model of this config.json");
  }

  const Tensor& find(const std::string& name) const {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) fail("[model] '", path_, "': tensor '", name, "' is missing");
    return it->second;
  }

  const Tensor& shaped(const std::string& name, int rank, int64_t rows, int64_t cols) const {
    const Tensor& t = find(name);
    const bool number = t.dtype == DType::kF32 || t.dtype == DType::kBF16 || t.dtype == DType::kF16;
    if (!number || t.rank != rank || t.shape[0] != rows || (rank > 1 && t.shape[1] != cols))
      fail("[model] '", path_, "': tensor '", name, "': expected [", rows, rank > 1 ? cat(", ", cols) : "",
           "] in f32, bf16 or f16, got ", shape_string(t), " ", dtype_name(t.dtype));
    return t;
  }

  QuantizedWeight part_numbers(Ctx& ctx, const std::string& file_name, int64_t N, int64_t K) const {
    try {
      return read_quantized(
          ctx, config_.quantization,
          [&](const std::string& part) {
            const auto it = tensors_.find(part);
            return it == tensors_.end() ? nullptr : &it->second;
          },
          base_name(file_name), N, K);
    } catch (const Error& e) { fail("[model] '", path_, "': ", e.what()); }
  }

  // Rows [KV][G + 2][HD]: per kv head its query heads, then k, then v (kernels.h).
  void read_qkv(Ctx& ctx, const std::string& name, Tensor to) const {
    const ModelConfig& c = config_.model;
    const int64_t hd = c.hd(), group = c.num_heads / c.num_kv_heads, D = c.hidden_size;
    auto find_part = [&](const char* which, int64_t heads) {
      return shaped(part(name, which), to.rank, heads * hd, D);
    };
    const Tensor q = find_part("q_proj", c.num_heads), k = find_part("k_proj", c.num_kv_heads),
                 v = find_part("v_proj", c.num_kv_heads);
    for (int64_t h = 0, row = 0; h < c.num_kv_heads; ++h) {
      convert(ctx, to.rows(row, row + group * hd), q.rows(h * group * hd, (h + 1) * group * hd));
      row += group * hd;
      for (const Tensor& t : {k, v}) {
        convert(ctx, to.rows(row, row + hd), t.rows(h * hd, (h + 1) * hd));
        row += hd;
      }
    }
  }

  std::string path_;
  HfConfig config_;
  DType dtype_ = DType::kF32;
  std::vector<std::unique_ptr<SafeTensors>> shards_;
  std::map<std::string, Tensor> tensors_;
};

QuantizedWeight HfSource::read_numbers(Ctx& ctx, const std::string& name) const {
  const ModelConfig& c = config_.model;
  const int64_t D = c.hidden_size, hd = c.hd();
  Spec spec{c.vocab_size, D, true, Init::kNormal};  // of a head that is stored beside the embedding it is tied to
  Model<int> model;
  model.each(c, config_.head, [&](const std::string& n, int&, Spec s, int64_t) {
    if (n == name) spec = s;
  });
  if (!joined(name)) return part_numbers(ctx, file_name(name), spec.rows, spec.cols);
  const int64_t parts_of_rows[] = {c.num_heads * hd, c.num_kv_heads * hd, c.num_kv_heads * hd};
  const char* const names[] = {"q_proj", "k_proj", "v_proj"};
  QuantizedWeight all, parts[3];
  for (int i = 0; i < 3; ++i) parts[i] = part_numbers(ctx, part(name, names[i]), parts_of_rows[i], D);
  auto join = [&](Tensor QuantizedWeight::* which) {
    if (!(parts[0].*which)) return;
    Tensor whole = parts[0].*which;
    whole.shape[0] = spec.rows;
    whole.data = ctx.scratch->alloc(DType::kU8, {whole.nbytes()}).data;
    all.*which = whole;
    const int64_t group = c.num_heads / c.num_kv_heads;
    for (int64_t h = 0, row = 0; h < c.num_kv_heads; ++h)
      for (int i = 0; i < 3; ++i) {
        const int64_t n = i == 0 ? group * hd : hd;
        const Tensor from = (parts[i].*which).rows(h * n, h * n + n);
        std::memcpy(whole.rows(row, row + n).data, from.data, static_cast<size_t>(from.nbytes()));
        row += n;
      }
  };
  join(&QuantizedWeight::q), join(&QuantizedWeight::scale), join(&QuantizedWeight::zero);
  return all;
}

void HfSource::verify() const {
  if (config_.quantization.checksum.empty()) return;
  if (shards_.size() != 1) fail("[model] '", path_, "': expected its tensors in one file");
  const std::string got = hex64(hash64(shards_[0]->data()));
  if (got != config_.quantization.checksum)
    fail("[model] ", shards_[0]->path(), ": its tensors have the checksum ", got, ", config.json says ",
         config_.quantization.checksum, "; one of the two files is damaged or of another model");
}

}  // namespace

QuantizedWeight ModelSource::read_numbers(Ctx&, const std::string& name) const {
  fail("[model] '", path(), "': '", name, "' is not quantised");
}

std::unique_ptr<ModelSource> open_model_source(const std::string& path) {
  if (path.ends_with(".gguf")) return open_gguf_source(path);
  return std::make_unique<HfSource>(path);
}

}  // namespace puyu
