#include "model/weights.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace puyu {

TensorSet make_tensor_set(const std::string& name, const ModelConfig& c, Head head, DType dtype) {
  TensorSet s;
  s.arena = std::make_unique<Arena>(name, c.num_params() * dtype_size(dtype) + (c.num_layers + 4) * 8 * 256);
  s.tensors.each(c, head, [&](const std::string&, Tensor& t, Spec spec, int64_t) {
    t = spec.cols ? s.arena->alloc(dtype, {spec.rows, spec.cols}) : s.arena->alloc(dtype, {spec.rows});
  });
  return s;
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

void init_weights(Weights& w, uint64_t seed) {
  uint64_t stream = 0;
  w.master.tensors.each(w.config, w.head, [&](const std::string&, Tensor& t, Spec spec, int64_t layer) {
    Rng rng(seed, ++stream);
    double std = spec.init == Init::kDepthScaled ? 0.02 / std::sqrt(2.0 * static_cast<double>(layer + 1)) : 0.02;
    float* p = t.as<float>();
    for (int64_t i = 0; i < t.numel(); ++i)
      p[i] = spec.init == Init::kOnes ? 1.0f : static_cast<float>(std * rng.normal());
  });
}

namespace {

constexpr const char* kWeightsFile = "model.safetensors";

Json config_to_json(const ModelConfig& c, Head head) {
  Json j = Json::object();
  Json arch = Json::array();
  arch.push(head == Head::kValue ? "InternLM2ForRewardModel" : "InternLM2ForCausalLM");
  j["architectures"] = arch;
  j["model_type"] = "internlm2";
  j["vocab_size"] = c.vocab_size;
  j["hidden_size"] = c.hidden_size;
  j["num_hidden_layers"] = c.num_layers;
  j["num_attention_heads"] = c.num_heads;
  j["num_key_value_heads"] = c.num_kv_heads;
  if (c.head_dim) j["head_dim"] = c.head_dim;
  j["intermediate_size"] = c.intermediate_size;
  j["rms_norm_eps"] = c.rms_norm_eps;
  j["rope_theta"] = c.rope_theta;
  j["max_position_embeddings"] = c.max_position;
  j["tie_word_embeddings"] = c.tie_embeddings;
  j["bias"] = false;
  j["hidden_act"] = "silu";
  j["bos_token_id"] = 1;
  j["eos_token_id"] = 2;
  j["pad_token_id"] = 2;
  return j;
}

}  // namespace

ModelConfig load_model_config(const std::string& dir) {
  std::string path = dir + "/config.json";
  if (!file_exists(path)) fail("[model] '", dir, "' holds no config.json; expected a model folder");
  Json j = Json::parse(read_file(path), path);
  ModelConfig c;
  try {
    std::string type = j.at("model_type").as_string();
    if (type != "internlm2") fail("model_type '", type, "' is not supported yet; expected 'internlm2'");
    c.vocab_size = j.at("vocab_size").as_int();
    c.hidden_size = j.at("hidden_size").as_int();
    c.num_layers = j.at("num_hidden_layers").as_int();
    c.num_heads = j.at("num_attention_heads").as_int();
    c.num_kv_heads = j.get("num_key_value_heads", c.num_heads);
    c.head_dim = j.get("head_dim", int64_t{0});
    c.intermediate_size = j.at("intermediate_size").as_int();
    c.rms_norm_eps = j.get("rms_norm_eps", 1e-5);
    c.rope_theta = j.get("rope_theta", 1e6);
    c.max_position = j.get("max_position_embeddings", int64_t{32768});
    c.tie_embeddings = j.get("tie_word_embeddings", false);
    if (j.get("bias", false)) fail("linear layers with bias are not supported yet");
    c.validate();
  } catch (const Error& e) { fail("[model] ", path, ": ", e.what()); }
  return c;
}

void save_model(const std::string& dir, Weights& w, DType dtype) {
  make_directories(dir);
  CHECK(dtype == DType::kF32 || (dtype == DType::kBF16 && w.compute == DType::kBF16));
  std::vector<NamedTensor> list;
  (dtype == DType::kF32 ? w.master : w.copy)
      .tensors.each(w.config, w.head,
                    [&](const std::string& name, Tensor& t, Spec, int64_t) { list.push_back({name, t}); });
  write_safetensors(dir + "/" + kWeightsFile, list, {{"format", "pt"}});
  write_file(dir + "/config.json", config_to_json(w.config, w.head).dump(2) + "\n");
}

Weights load_model(Ctx& ctx, const std::string& dir, Head head, DType compute) {
  Weights w = make_weights(load_model_config(dir), head, compute);
  SafeTensors file(dir + "/" + kWeightsFile);
  w.master.tensors.each(w.config, head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    const Tensor* src = file.find(name);
    if (!src && name == "v_head.weight") return fill(ctx, t, 0);
    if (!src) fail("[model] ", file.path(), ": tensor '", name, "' is missing");
    bool same = src->rank == t.rank && src->shape[0] == t.shape[0] && (t.rank < 2 || src->shape[1] == t.shape[1]);
    if (!same || (src->dtype != DType::kF32 && src->dtype != DType::kBF16))
      fail("[model] ", file.path(), ": tensor '", name, "': expected ", shape_string(t), " (or bf16), got ",
           shape_string(*src));
    cast(ctx, t, *src);
  });
  w.refresh_copy(ctx);
  return w;
}

}  // namespace puyu
