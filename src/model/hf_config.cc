#include "model/hf_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace puyu {
namespace {

void read_rope(const Json& j, ModelConfig& c) {
  if (const Json* p = j.find("rope_parameters"); p && !p->is_null()) {  // transformers 5 puts the base in there too
    c.rope_theta = p->get("rope_theta", c.rope_theta);
    return read_rope(
        [&] {
          Json scaling = Json::object();
          scaling["rope_scaling"] = *p;
          return scaling;
        }(),
        c);
  }
  const Json* s = j.find("rope_scaling");
  if (!s || s->is_null()) return;
  const std::string type = s->get("rope_type", s->get("type", std::string("default")));
  if (type == "default") return;
  c.rope_scaling = type;
  c.rope_factor = s->at("factor").as_double();
  c.rope_original_position = s->get("original_max_position_embeddings", int64_t{0});
  c.rope_attention_factor = s->get("attention_factor", 0.0);
  c.rope_beta_fast = s->get("beta_fast", c.rope_beta_fast);
  c.rope_beta_slow = s->get("beta_slow", c.rope_beta_slow);
  c.rope_low_freq = s->get("low_freq_factor", c.rope_low_freq);
  c.rope_high_freq = s->get("high_freq_factor", c.rope_high_freq);
  for (const char* key : {"mscale", "mscale_all_dim", "short_factor", "long_factor"})
    if (s->find(key) && !s->at(key).is_null()) fail("rope_scaling.", key, ": not supported");
}

// Each family's way to say which linear layers have a bias.
void read_biases(const Json& j, const std::string& type, ModelConfig& c) {
  const bool internlm3 = type == "internlm3";
  if (type == "qwen2") c.qkv_bias = true;
  if (internlm3) c.qkv_bias = j.get("qkv_bias", false);
  if (j.get(type == "internlm2" ? "bias" : "attention_bias", false)) c.qkv_bias = c.wo_bias = true;
  const char* feed_forward = internlm3 ? "bias" : "mlp_bias";  // InternLM3's also stands for the feed-forward part
  if (j.get(feed_forward, false)) fail(feed_forward, ": a bias in the feed-forward part is not supported");
}

void refuse_what_is_not_done(const Json& j) {
  if (const std::string act = j.get("hidden_act", std::string("silu")); act != "silu")
    fail("hidden_act: expected silu, got '", act, "'");
  for (const char* key : {"num_experts", "num_local_experts", "final_logit_softcapping", "attn_logit_softcapping"})
    if (const Json* v = j.find(key); v && !v->is_null()) fail(key, ": not supported");
  if (const double p = j.get("partial_rotary_factor", 1.0); p != 1) fail("partial_rotary_factor: expected 1, got ", p);
}

// Within its window a model with sliding attention is an ordinary one.
void apply_window(const Json& j, ModelConfig& c) {
  const Json* w = j.find("sliding_window");
  const bool by_default = j.get("model_type", std::string()) != "qwen2";
  if (!w || w->is_null() || !j.get("use_sliding_window", by_default) || w->as_int() >= c.max_position) return;
  log_warn("[model] sliding_window of ", w->as_int(), " tokens: contexts are limited to that, instead of ",
           c.max_position);
  c.max_position = w->as_int();
}

Json rope_to_json(const ModelConfig& c) {
  Json s = Json::object();
  s["type"] = c.rope_scaling;
  s["factor"] = c.rope_factor;
  if (c.rope_original_position) s["original_max_position_embeddings"] = c.rope_original_position;
  if (c.rope_scaling == "yarn") {
    if (c.rope_attention_factor > 0) s["attention_factor"] = c.rope_attention_factor;
    s["beta_fast"] = c.rope_beta_fast, s["beta_slow"] = c.rope_beta_slow;
  }
  if (c.rope_scaling == "llama3") s["low_freq_factor"] = c.rope_low_freq, s["high_freq_factor"] = c.rope_high_freq;
  return s;
}

}  // namespace

HfConfig parse_hf_config(const Json& j) {
  HfConfig out;
  ModelConfig& c = out.model;
  const std::string type = j.at("model_type").as_string();
  const bool ours = type == "internlm2";
  out.family = type;
  out.llama_names = type == "llama" || type == "mistral" || type == "internlm3" || type == "qwen2";
  if (!ours && !out.llama_names)
    fail("model_type '", type, "' is not supported; expected internlm2, internlm3, llama, mistral or qwen2");
  refuse_what_is_not_done(j);
  read_biases(j, type, c);
  c.vocab_size = j.at("vocab_size").as_int();
  c.hidden_size = j.at("hidden_size").as_int();
  c.num_layers = j.at("num_hidden_layers").as_int();
  c.num_heads = j.at("num_attention_heads").as_int();
  c.num_kv_heads = j.get("num_key_value_heads", c.num_heads);
  c.head_dim = j.get("head_dim", int64_t{0});
  c.intermediate_size = j.at("intermediate_size").as_int();
  // Absent keys have the value of the family's own configuration class in transformers; ours writes them all.
  c.rms_norm_eps = j.get("rms_norm_eps", ours ? 1e-5 : 1e-6);
  c.rope_theta = j.get("rope_theta", ours ? 1e6 : 1e4);
  c.max_position = j.get("max_position_embeddings", ours || type == "qwen2" ? int64_t{32768} : int64_t{2048});
  c.tie_embeddings = j.get("tie_word_embeddings", false);
  read_rope(j, c);
  apply_window(j, c);
  if (const Json* a = j.find("architectures"); a && a->is_array() && a->size() > 0) {
    const std::string name = a->as_array()[0].as_string();
    const bool reward = name == "InternLM2ForRewardModel";
    if (!reward && !name.ends_with("ForCausalLM"))
      fail("architectures: expected ...ForCausalLM or InternLM2ForRewardModel, got '", name, "'");
    if (reward) out.head = Head::kValue;
    // [UNUSED_TOKEN_130] of InternLM2's vocabulary, as published.
    if (reward) out.reward_token = j.get("reward_token_id", c.vocab_size > 92527 ? int64_t{92527} : int64_t{-1});
  }
  out.quantization = parse_quantization(j);
  c.validate();
  return out;
}

HfConfig read_hf_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  if (!file_exists(path)) fail("[model] '", folder, "' holds no config.json; expected a model folder");
  const Json j = Json::parse(read_file(path), path);
  try {
    return parse_hf_config(j);
  } catch (const Error& e) { fail("[model] ", path, ": ", e.what()); }
}

Json to_hf_config(const ModelConfig& c, Head head) {
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
  if (!c.rope_scaling.empty()) j["rope_scaling"] = rope_to_json(c);
  j["max_position_embeddings"] = c.max_position;
  j["tie_word_embeddings"] = c.tie_embeddings;
  j["bias"] = c.qkv_bias || c.wo_bias;  // weights.cc writes both
  j["hidden_act"] = "silu";
  j["bos_token_id"] = 1;
  j["eos_token_id"] = 2;
  j["pad_token_id"] = 2;
  return j;
}

}  // namespace puyu
