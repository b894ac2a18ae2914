#include "model/gguf_model.h"

#include <cmath>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "model/hf_names.h"

namespace puyu {
namespace {

// llama.cpp's name of a tensor of ours; empty for wqkv and its bias, which stand there in three.
std::string gguf_name(const std::string& name) {
  if (name == "model.tok_embeddings.weight") return "token_embd.weight";
  if (name == "model.norm.weight") return "output_norm.weight";
  if (name == "output.weight") return name;
  static const std::pair<const char*, const char*> kParts[] = {
      {"attention_norm.weight", "attn_norm.weight"}, {"attention.wo.weight", "attn_output.weight"},
      {"attention.wo.bias", "attn_output.bias"},     {"ffn_norm.weight", "ffn_norm.weight"},
      {"feed_forward.w1.weight", "ffn_gate.weight"}, {"feed_forward.w3.weight", "ffn_up.weight"},
      {"feed_forward.w2.weight", "ffn_down.weight"}};
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return {};
  const size_t dot = name.find('.', kPrefix.size());
  for (auto [ours, theirs] : kParts)
    if (name.substr(dot + 1) == ours)
      return cat("blk.", name.substr(kPrefix.size(), dot - kPrefix.size()), ".", theirs);
  return {};
}
std::string block_of(const std::string& wqkv) {  // "model.layers.7.attention.wqkv.weight" -> "blk.7."
  const size_t begin = std::string_view("model.layers.").size();
  return cat("blk.", wqkv.substr(begin, wqkv.find('.', begin) - begin), ".");
}
// which: 0 q, 1 k, 2 v
std::string part_name(const std::string& wqkv, int which) {
  return cat(block_of(wqkv), "attn_", "qkv"[which], wqkv.ends_with(".bias") ? ".bias" : ".weight");
}

// Where row r of a head stands in ggml's order.
int64_t ggml_row(int64_t r, int64_t hd) { return r < hd / 2 ? 2 * r : 2 * (r - hd / 2) + 1; }

// Row of wqkv ([KV][G + 2][HD]) -> which of q, k, v it belongs to, and its row there, in the order of `arch`.
struct Place {
  int which;
  int64_t row;
};
Place place_of(const ModelConfig& c, int64_t row, const std::string& arch) {
  const int64_t hd = c.hd(), group = c.num_heads / c.num_kv_heads;
  CHECK(hd > 0 && group > 0);
  const int64_t kv = row / hd / (group + 2), slot = row / hd % (group + 2), r = row % hd;
  const int64_t rotated = arch == "qwen2" ? r : ggml_row(r, hd);
  if (slot < group) return {0, (kv * group + slot) * hd + rotated};
  if (slot == group) return {1, kv * hd + rotated};
  return {2, kv * hd + r};
}

ModelConfig read_config(const Gguf& f) {
  const std::string arch = f.text("general.architecture"), at = arch + ".";
  if (arch != "internlm2" && arch != "llama" && arch != "qwen2")
    fail("[gguf] ", f.path(), ": architecture '", arch, "' is not supported; expected internlm2, llama or qwen2");
  ModelConfig c;
  c.hidden_size = f.integer(at + "embedding_length");
  c.num_layers = f.integer(at + "block_count");
  c.num_heads = f.integer(at + "attention.head_count");
  c.num_kv_heads = f.integer(at + "attention.head_count_kv", c.num_heads);
  c.intermediate_size = f.integer(at + "feed_forward_length");
  c.max_position = f.integer(at + "context_length");
  c.rms_norm_eps = f.number(at + "attention.layer_norm_rms_epsilon", 1e-5);
  c.rope_theta = f.number(at + "rope.freq_base", 1e4);
  const auto embedding = f.tensors().find("token_embd.weight");
  if (embedding == f.tensors().end() || embedding->second.shape.size() != 2)
    fail("[gguf] ", f.path(), ": tensor 'token_embd.weight' is missing or no matrix");
  c.vocab_size = embedding->second.shape[0];
  c.tie_embeddings = !f.tensors().contains("output.weight");
  c.qkv_bias = f.tensors().contains("blk.0.attn_q.bias");
  c.wo_bias = f.tensors().contains("blk.0.attn_output.bias");
  if (const int64_t hd = f.integer(at + "attention.key_length", 0); hd > 0 && hd * c.num_heads != c.hidden_size)
    c.head_dim = hd;
  if (f.integer(at + "expert_count", 0) > 0) fail("[gguf] ", f.path(), ": experts are not supported");
  // llama.cpp knows no dynamic scaling; our own files name it.
  std::string scaling = f.find("puyu.rope.scaling")        ? f.text("puyu.rope.scaling")
                        : f.find(at + "rope.scaling.type") ? f.text(at + "rope.scaling.type")
                                                           : "none";
  if (scaling != "none") {
    c.rope_scaling = scaling;
    c.rope_factor = f.number(f.find("puyu.rope.factor") ? "puyu.rope.factor" : at + "rope.scaling.factor", 1);
    c.rope_original_position = f.integer(at + "rope.scaling.original_context_length", 0);
  }
  try {
    c.validate();
  } catch (const Error& e) { fail("[gguf] ", f.path(), ": ", e.what()); }
  return c;
}

class GgufSource : public ModelSource {
 public:
  explicit GgufSource(const std::string& path) : file_(path), config_(read_config(file_)) {
    std::set<std::string> expected;
    Model<int> model;
    model.each(config_, Head::kLanguage, [&](const std::string& name, int&, Spec, int64_t) {
      if (!is_wqkv(name))
        expected.insert(gguf_name(name));
      else
        for (int which : {0, 1, 2}) expected.insert(part_name(name, which));
    });
    for (const auto& [name, t] : file_.tensors())
      if (!expected.contains(name))
        fail("[gguf] ", path, ": tensor '", name,
             "' has no place in this model; it would be computed wrongly without it");
  }
  const ModelConfig& config() const override { return config_; }
  Head head() const override { return Head::kLanguage; }
  DType dtype() const override { return find("token_embd.weight").type == GgmlType::kF32 ? DType::kF32 : DType::kBF16; }
  const std::string& path() const override { return file_.path(); }
  std::string family() const override { return file_.text("general.architecture"); }
  bool has(const std::string& name) const override {
    return file_.tensors().contains(is_wqkv(name) ? part_name(name, 0) : gguf_name(name));
  }

  Tensor view(const std::string& name, DType dtype) const override {
    if (is_wqkv(name)) return {};
    const GgufTensor& t = find(gguf_name(name));
    const bool same =
        (t.type == GgmlType::kF32 && dtype == DType::kF32) || (t.type == GgmlType::kBF16 && dtype == DType::kBF16);
    if (!same) return {};
    Tensor v;
    v.data = const_cast<char*>(t.data), v.dtype = dtype, v.rank = static_cast<uint8_t>(t.shape.size());
    std::copy(t.shape.begin(), t.shape.end(), v.shape);
    return v;
  }

  void read(Ctx&, const std::string& name, Tensor to) const override {
    if (!is_wqkv(name)) {
      const GgufTensor& t = shaped(gguf_name(name), to.shape[0], to.rank > 1 ? to.shape[1] : 0);
      const int64_t cols = t.shape.back();
      parallel_for(t.numel() / cols, [&](int64_t row) { read_row(t, row, to, row, cols); });
      return;
    }
    const bool matrix = to.rank > 1;
    const int64_t D = matrix ? config_.hidden_size : 0, hd = config_.hd(), kv = config_.num_kv_heads * hd;
    const GgufTensor* parts[] = {&shaped(part_name(name, 0), config_.num_heads * hd, D),
                                 &shaped(part_name(name, 1), kv, D), &shaped(part_name(name, 2), kv, D)};
    const std::string arch = family();
    for (const GgufTensor* t : parts)  // single numbers change places
      if (!matrix && ggml_format(t->type)->block != 1)
        fail("[gguf] ", path(), ": a bias of ", name, " is quantised; expected f32, f16 or bf16");
    parallel_for(to.shape[0], [&](int64_t row) {
      const Place p = place_of(config_, row, arch);
      read_row(*parts[p.which], p.row, to, row, matrix ? D : 1);
    });
  }

 private:
  const GgufTensor& find(const std::string& name) const {
    const auto it = file_.tensors().find(name);
    if (it == file_.tensors().end()) fail("[gguf] ", path(), ": tensor '", name, "' is missing");
    return it->second;
  }
  const GgufTensor& shaped(const std::string& name, int64_t rows, int64_t cols) const {
    const GgufTensor& t = find(name);
    const std::vector<int64_t> want = cols ? std::vector<int64_t>{rows, cols} : std::vector<int64_t>{rows};
    if (t.shape != want)
      fail("[gguf] ", path(), ": tensor '", name, "': expected [", rows, cols ? cat(", ", cols) : "", "], got [",
           t.shape[0], t.shape.size() > 1 ? cat(", ", t.shape[1]) : "", "]");
    return t;
  }
  static void read_row(const GgufTensor& t, int64_t row, Tensor to, int64_t to_row, int64_t cols) {
    std::vector<float> x(static_cast<size_t>(cols));
    const GgmlFormat& f = *ggml_format(t.type);
    ggml_decode(t.type, t.data + row * (cols / f.block * f.bytes), cols, x.data());
    if (to.dtype == DType::kF32) {
      std::copy(x.begin(), x.end(), to.as<float>() + to_row * cols);
      return;
    }
    for (int64_t i = 0; i < cols; ++i) to.as<BF16>()[to_row * cols + i] = to_bf16(x[static_cast<size_t>(i)]);
  }

  Gguf file_;
  ModelConfig config_;
};

void add_config(GgufMetadata& m, const ModelConfig& c, const std::string& arch, GgmlType type) {
  const std::string at = arch + ".";
  m.add("general.architecture", arch);
  m.add("general.name", cat(arch, " by puyu"));
  m.add_u32(at + "context_length", c.max_position);
  m.add_u32(at + "block_count", c.num_layers);
  m.add_u32(at + "embedding_length", c.hidden_size);
  m.add_u32(at + "feed_forward_length", c.intermediate_size);
  m.add_u32(at + "attention.head_count", c.num_heads);
  m.add_u32(at + "attention.head_count_kv", c.num_kv_heads);
  m.add_f32(at + "attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  m.add_f32(at + "rope.freq_base", c.rope_theta);
  m.add_u32(at + "rope.dimension_count", c.hd());
  m.add_u32(at + "vocab_size", c.vocab_size);
  if (c.head_dim)
    m.add_u32(at + "attention.key_length", c.head_dim), m.add_u32(at + "attention.value_length", c.head_dim);
  if (c.rope_scaling == "linear" || c.rope_scaling == "yarn") {
    m.add(at + "rope.scaling.type", c.rope_scaling);
    m.add_f32(at + "rope.scaling.factor", c.rope_factor);
    if (c.rope_original_position) m.add_u32(at + "rope.scaling.original_context_length", c.rope_original_position);
  } else if (c.rope_scaling == "dynamic") {
    log_warn("[gguf] dynamic NTK is no part of the format: llama.cpp will run contexts beyond ", c.max_position,
             " without it");
    m.add("puyu.rope.scaling", "dynamic");
    m.add_f32("puyu.rope.factor", c.rope_factor);
  } else if (!c.rope_scaling.empty()) {
    fail("[gguf] rope_scaling '", c.rope_scaling, "' cannot be written to GGUF yet");
  }
  // llama.cpp's LLAMA_FTYPE of files that are all of one type.
  const std::pair<GgmlType, int64_t> kinds[] = {{GgmlType::kF32, 0},  {GgmlType::kF16, 1},   {GgmlType::kQ4_0, 2},
                                                {GgmlType::kQ8_0, 7}, {GgmlType::kQ4_K, 14}, {GgmlType::kBF16, 32}};
  for (auto [t, kind] : kinds)
    if (t == type) m.add_u32("general.file_type", kind);
  m.add_u32("general.quantization_version", 2);
}

std::string encode(GgmlType type, const std::vector<float>& x, int64_t cols) {
  const GgmlFormat& f = *ggml_format(type);
  const int64_t rows = static_cast<int64_t>(x.size()) / cols, row_bytes = cols / f.block * f.bytes;
  std::string out(static_cast<size_t>(rows * row_bytes), '\0');
  parallel_for(rows, [&](int64_t r) { ggml_encode(type, x.data() + r * cols, cols, out.data() + r * row_bytes); });
  return out;
}

// One of q, k, v, its rows in ggml's order.
std::string encode_part(Ctx& ctx, const ModelSource& s, const std::string& wqkv, int which, GgmlType type, int64_t rows,
                        const std::string& arch) {
  const ModelConfig& c = s.config();
  const bool matrix = !wqkv.ends_with(".bias");
  const int64_t D = matrix ? c.hidden_size : 1, N = c.heads().row();
  std::vector<float> all(static_cast<size_t>(N * D)), part(static_cast<size_t>(rows * D));
  s.read(ctx, wqkv, matrix ? make_view(all.data(), N, D) : make_view(all.data(), N));
  for (int64_t row = 0; row < N; ++row)
    if (const Place p = place_of(c, row, arch); p.which == which)
      std::copy_n(all.begin() + row * D, D, part.begin() + p.row * D);
  return encode(type, part, D);
}

// llama.cpp's internlm2 knows no bias; its llama is the same arithmetic and does.
std::string gguf_arch(const ModelConfig& c, const std::string& family) {
  if (family == "qwen2" && c.qkv_bias && !c.wo_bias) return "qwen2";
  return family == "internlm2" && !c.qkv_bias && !c.wo_bias ? "internlm2" : "llama";
}

template <class F>
void each_out(const ModelConfig& c, GgmlType type, F&& f) {  // f(name, our name, part of wqkv or -1, rows, cols, type)
  Model<int> model;
  model.each(c, Head::kLanguage, [&](const std::string& name, int&, Spec spec, int64_t) {
    if (!is_wqkv(name)) return f(gguf_name(name), name, -1, spec.rows, spec.cols, spec.cols ? type : GgmlType::kF32);
    const int64_t rows[] = {c.num_heads * c.hd(), c.num_kv_heads * c.hd(), c.num_kv_heads * c.hd()};
    for (int i = 0; i < 3; ++i) f(part_name(name, i), name, i, rows[i], spec.cols, spec.cols ? type : GgmlType::kF32);
  });
}

}  // namespace

std::unique_ptr<ModelSource> open_gguf_source(const std::string& path) { return std::make_unique<GgufSource>(path); }

int64_t gguf_bytes(const ModelConfig& c, Head head, GgmlType type) {
  if (head != Head::kLanguage) fail("[gguf] expected a language model, got one with a value head");
  int64_t sum = 0;
  each_out(c, type, [&](const std::string& name, const std::string&, int, int64_t rows, int64_t cols, GgmlType t) {
    const GgmlFormat& f = *ggml_format(t);
    if (cols % f.block) fail("[gguf] ", f.name, " needs rows of a multiple of ", f.block, ", ", name, " has ", cols);
    sum += rows * std::max<int64_t>(cols, 1) / f.block * f.bytes;
  });
  return sum;
}

void export_gguf(Ctx& ctx, const ModelSource& s, GgufMetadata metadata, GgmlType type, const std::string& path,
                 const std::function<void(int64_t)>& on_tensor) {
  gguf_bytes(s.config(), s.head(), type);  // says what cannot be
  GgufMetadata all;
  const std::string arch = gguf_arch(s.config(), s.family());
  add_config(all, s.config(), arch, type);
  all.list.insert(all.list.end(), metadata.list.begin(), metadata.list.end());
  std::vector<GgufOut> out;
  each_out(s.config(), type,
           [&](const std::string& name, const std::string& ours, int part, int64_t rows, int64_t cols, GgmlType t) {
             GgufOut o{name, t, cols ? std::vector<int64_t>{rows, cols} : std::vector<int64_t>{rows}, {}};
             o.data = [&ctx, &s, arch, ours, part, rows, cols, t]() {
               if (part >= 0) return encode_part(ctx, s, ours, part, t, rows, arch);
               std::vector<float> x(static_cast<size_t>(rows * std::max<int64_t>(cols, 1)));
               s.read(ctx, ours, cols ? make_view(x.data(), rows, cols) : make_view(x.data(), rows));
               return encode(t, x, std::max<int64_t>(cols, 1));
             };
             out.push_back(std::move(o));
           });
  write_gguf(path, all, out, on_tensor);
}

}  // namespace puyu
