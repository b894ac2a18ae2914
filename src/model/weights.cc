#include "model/weights.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "model/hf_config.h"
#include "tensor/safetensors.h"

namespace puyu {

ModelConfig split_config(const ModelConfig& c, int64_t ranks) {
  CHECK(c.num_kv_heads % ranks == 0 && c.intermediate_size % ranks == 0 && c.vocab_size % ranks == 0);
  ModelConfig out = c;
  out.head_dim = c.hd();
  out.num_heads /= ranks, out.num_kv_heads /= ranks, out.intermediate_size /= ranks, out.vocab_size /= ranks;
  return out;
}

FlatLayout flat_layout(const ModelConfig& c, Head head) {
  FlatLayout out;
  out.parts.resize(static_cast<size_t>(num_parts(c)));
  Model<char> names;
  names.each(c, head, [&](const std::string& name, char& t, Spec spec, int64_t layer) {
    const int64_t part = layer >= 0 ? layer + 1 : &t == &names.tok_embeddings ? 0 : c.num_layers + 1;
    int64_t& used = out.parts[static_cast<size_t>(part)];
    const FlatTensor& f = out.tensors.emplace_back(FlatTensor{name, spec, layer, part, used});
    used += (f.elements() + 63) / 64 * 64 + 64;  // the gap lets kernels read one vector past the end
  });
  return out;
}

std::unique_ptr<Arena> make_arena(const std::string& name, int64_t bytes, const std::string& folder) {
  return folder.empty() ? std::make_unique<Arena>(name, bytes) : std::make_unique<Arena>(name, bytes, folder);
}

TensorSet make_tensor_set(const std::string& name, const ModelConfig& c, Head head, DType dtype,
                          const std::string& folder) {
  TensorSet s;
  const FlatLayout layout = flat_layout(c, head);
  int64_t bytes = 0;
  for (int64_t n : layout.parts) bytes += n * dtype_size(dtype) + 128;
  s.arena = make_arena(name, bytes, folder);
  for (int64_t n : layout.parts) s.parts.push_back(s.arena->alloc(dtype, {n}));
  auto at = layout.tensors.begin();
  s.tensors.each(c, head, [&](const std::string&, Tensor& t, Spec, int64_t) { t = flat_tensor(*at, s.parts), ++at; });
  return s;
}

Tensor flat_tensor(const FlatTensor& f, const std::vector<Tensor>& parts) {
  Tensor t = parts[static_cast<size_t>(f.part)].rows(f.begin, f.begin + f.elements());
  return f.spec.cols ? t.view(f.spec.rows, f.spec.cols) : t;
}

Weights make_weights(const ModelConfig& c, Head head, DType compute) {
  c.validate();
  Weights w;
  w.config = c, w.head = head, w.compute = compute;
  w.master = make_tensor_set("weights", c, head, DType::kF32);
  if (compute == DType::kBF16) w.copy = make_tensor_set("weights bf16", c, head, DType::kBF16);
  return w;
}

void Weights::refresh_copy(Ctx& ctx) {
  if (compute == DType::kF32) return;
  std::vector<Tensor> to;
  copy.tensors.each(config, head, [&](const std::string&, Tensor& t, Spec, int64_t) { to.push_back(t); });
  size_t i = 0;
  master.tensors.each(config, head, [&](const std::string&, Tensor& t, Spec, int64_t) { cast(ctx, to[i++], t); });
}

void init_tensor(Tensor t, const Spec& spec, int64_t layer, uint64_t seed, size_t index) {
  Rng rng(seed, index + 1);
  const double std = spec.init == Init::kDepthScaled ? 0.02 / std::sqrt(2.0 * static_cast<double>(layer + 1)) : 0.02;
  float* p = t.as<float>();
  for (int64_t i = 0; i < t.numel(); ++i)
    p[i] = spec.init == Init::kOnes ? 1.0f : spec.init == Init::kZeros ? 0.0f : static_cast<float>(std * rng.normal());
}

void init_weights(Weights& w, uint64_t seed) {
  size_t index = 0;
  w.master.tensors.each(w.config, w.head, [&](const std::string&, Tensor& t, Spec spec, int64_t layer) {
    init_tensor(t, spec, layer, seed, index++);
  });
}

ModelConfig load_model_config(const std::string& dir) { return read_hf_config(dir).model; }

void save_model(const std::string& dir, Weights& w, DType dtype) {
  make_directories(dir);
  CHECK(dtype == DType::kF32 || (dtype == DType::kBF16 && w.compute == DType::kBF16));
  std::vector<NamedTensor> list;
  // InternLM2 has a bias on all of the attention or on nothing: where one of ours has none it is saved as zeros.
  ModelConfig saved = w.config;
  saved.qkv_bias = saved.wo_bias = w.config.qkv_bias || w.config.wo_bias;
  std::vector<char> zeros(static_cast<size_t>(std::max(saved.heads().row(), saved.hidden_size) * dtype_size(dtype)));
  (dtype == DType::kF32 ? w.master : w.copy)
      .tensors.each(saved, w.head, [&](const std::string& name, Tensor& t, Spec spec, int64_t) {
        Tensor none = make_view(reinterpret_cast<float*>(zeros.data()), spec.rows);
        none.dtype = dtype;
        list.push_back({name, t ? t : none});
      });
  write_safetensors(dir + "/model.safetensors", list, {{"format", "pt"}});
  write_file(dir + "/config.json", to_hf_config(w.config, w.head).dump(2) + "\n");
}

Weights load_model(Ctx& ctx, const std::string& dir, Head head, DType compute) {
  const auto source = open_model_source(dir);
  source->verify();
  Weights w = make_weights(source->config(), head, compute);
  w.master.tensors.each(w.config, head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    if (name == "v_head.weight" && !source->has(name)) return fill(ctx, t, 0);
    source->read(ctx, name, t);
  });
  w.refresh_copy(ctx);
  return w;
}

Weights load_for_inference(Ctx& ctx, const std::string& dir, Head head, std::optional<DType> compute) {
  std::shared_ptr<const ModelSource> source = open_model_source(dir);
  source->verify();
  if (head == Head::kLanguage && source->head() == Head::kValue)
    fail("[model] '", dir, "' is a reward model: it scores dialogues and cannot answer");
  Weights w;
  w.config = source->config(), w.head = head;
  w.compute = compute ? *compute : source->dtype() == DType::kF32 ? DType::kF32 : DType::kBF16;
  TensorSet& set = w.compute == DType::kF32 ? w.master : w.copy;
  // Address space for all; memory for what is not mapped as it is.
  set.arena = std::make_unique<Arena>(
      "weights", w.config.num_params() * dtype_size(w.compute) + (w.config.num_layers + 4) * 10 * 256);
  set.tensors.each(w.config, head, [&](const std::string& name, Tensor& t, Spec spec, int64_t) {
    Tensor shape;
    shape.rank = spec.cols ? 2 : 1, shape.shape[0] = spec.rows, shape.shape[1] = spec.cols;
    if (source->quantized(name)) {
      t = shape;
      t.dtype = w.compute;
      return;
    }
    t = source->view(name, w.compute);
    if (t && t.rank == shape.rank && t.shape[0] == shape.shape[0] && (t.rank < 2 || t.shape[1] == shape.shape[1]))
      return;
    t = spec.cols ? set.arena->alloc(w.compute, {spec.rows, spec.cols}) : set.arena->alloc(w.compute, {spec.rows});
    source->read(ctx, name, t);
  });
  w.source = std::move(source);
  return w;
}

}  // namespace puyu
