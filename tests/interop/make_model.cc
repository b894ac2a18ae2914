// interop_make_model DIR SHAPE TEXTS.json: a small model that other programs are held against: random weights, so large
// that attention and positions matter, and a tokenizer learnt from the texts. SHAPE: internlm2, or, under LLaMA's
// names, llama (three query heads to a key head, tied embeddings, a padded vocabulary) and llama-wide (as many key
// heads, wider than hidden_size). blocks: internlm2 whose rows are whole blocks of 256, as k-quants want them.
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/hf_config.h"
#include "model/model.h"
#include "text/bpe_train.h"

namespace puyu {
namespace {

struct Shape {
  const char* name;
  int pieces;
  ModelConfig config;  // vocab_size: padding behind the pieces
};

Shape find_shape(const std::string& name) {
  ModelConfig c;
  c.vocab_size = 0, c.max_position = 512;
  ModelConfig first = c, llama = c, wide = c, blocks = c;
  first.hidden_size = 64, first.num_layers = 3, first.num_heads = 4, first.num_kv_heads = 2;
  first.intermediate_size = 160, first.rope_theta = 1e6;
  llama.vocab_size = 13, llama.hidden_size = 96, llama.num_layers = 2, llama.num_heads = 6, llama.num_kv_heads = 2;
  llama.intermediate_size = 224, llama.rope_theta = 1e4, llama.rms_norm_eps = 1e-6, llama.tie_embeddings = true;
  wide.hidden_size = 64, wide.num_layers = 2, wide.num_heads = wide.num_kv_heads = 4, wide.head_dim = 32;
  wide.intermediate_size = 192, wide.rope_theta = 5e5;
  blocks.hidden_size = 256, blocks.num_layers = 2, blocks.num_heads = 4, blocks.num_kv_heads = 2;
  blocks.intermediate_size = 512;
  for (const Shape& s : {Shape{"internlm2", 570, first}, Shape{"blocks", 570, blocks}, Shape{"llama", 520, llama},
                         Shape{"llama-wide", 544, wide}})
    if (s.name == name) return s;
  fail("SHAPE: expected internlm2, llama, llama-wide or blocks, got '", name, "'");
}

Tokenizer learn(int pieces, const std::string& path) {
  const Json texts = Json::parse(read_file(path), path);
  size_t next = 0;
  BpeTrainOptions o;
  o.vocab_size = pieces, o.character_coverage = 0.85;
  return train_bpe(o, [&](std::string& text) {
    if (next == texts.size()) return false;
    text = texts.as_array()[next++].at("text").as_string();
    return true;
  });
}

// Each matrix keeps the size of what it multiplies; queries and keys are larger, so that attention chooses.
void fill_weights(Weights& w) {
  Rng rng(20240326);
  const double D = static_cast<double>(w.config.hidden_size);
  w.master.tensors.each(w.config, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    const double depth = t.rank > 1 ? static_cast<double>(t.shape[1]) : 1;
    double scale = 1 / std::sqrt(depth), middle = 0;
    if (t.rank == 1) scale = 0.2, middle = 1;
    if (name.ends_with("wqkv.weight")) scale *= 1.5;
    if (name.ends_with("tok_embeddings.weight")) scale = w.config.tie_embeddings ? 3 / std::sqrt(D) : 1;
    if (name == "output.weight") scale *= 3;
    for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = static_cast<float>(middle + scale * rng.normal());
  });
}

// The same weights under LLaMA's names: wqkv's rows are per key head its query heads, then k, then v (kernels.h).
void save_as_llama(const std::string& dir, Weights& w) {
  const ModelConfig& c = w.config;
  Json config = to_hf_config(c, w.head);
  config["model_type"] = "llama", config["architectures"] = Json(Json::Array{"LlamaForCausalLM"});
  write_file(dir + "/config.json", config.dump(2) + "\n");
  std::vector<NamedTensor> list = {{"model.embed_tokens.weight", w.master.tensors.tok_embeddings},
                                   {"model.norm.weight", w.master.tensors.norm}};
  if (!c.tie_embeddings) list.push_back({"lm_head.weight", w.master.tensors.output});
  Arena arena("q, k and v", c.num_params() * 4 + (1 << 20));
  for (size_t l = 0; l < w.master.tensors.layers.size(); ++l) {
    const Block<Tensor>& b = w.master.tensors.layers[l];
    const std::string at = cat("model.layers.", l, ".");
    const int64_t hd = c.hd(), group = c.num_heads / c.num_kv_heads, D = c.hidden_size;
    Tensor q = arena.alloc(DType::kF32, {c.num_heads * hd, D}), k = arena.alloc(DType::kF32, {c.num_kv_heads * hd, D}),
           v = arena.alloc(DType::kF32, {c.num_kv_heads * hd, D});
    for (int64_t head = 0; head < c.num_kv_heads * (group + 2); ++head) {
      const int64_t kv = head / (group + 2), slot = head % (group + 2);
      const Tensor& to = slot < group ? q : slot == group ? k : v;
      const int64_t row = (slot < group ? kv * group + slot : kv) * hd;
      std::copy_n(b.wqkv.as<float>() + head * hd * D, hd * D, to.as<float>() + row * D);
    }
    for (auto [name, t] : {std::pair<const char*, Tensor>{"self_attn.q_proj", q},
                           {"self_attn.k_proj", k},
                           {"self_attn.v_proj", v},
                           {"self_attn.o_proj", b.wo},
                           {"mlp.gate_proj", b.w1},
                           {"mlp.up_proj", b.w3},
                           {"mlp.down_proj", b.w2},
                           {"input_layernorm", b.attention_norm},
                           {"post_attention_layernorm", b.ffn_norm}})
      list.push_back({at + name + ".weight", t});
  }
  write_safetensors(dir + "/model.safetensors", list, {{"format", "pt"}});
}

}  // namespace
}  // namespace puyu

int main(int argc, char** argv) try {
  if (argc != 4) return std::fputs("usage: interop_make_model DIR SHAPE TEXTS.json\n", stderr), 2;
  const std::string dir = argv[1];
  puyu::Shape shape = puyu::find_shape(argv[2]);
  const puyu::Tokenizer tokenizer = puyu::learn(shape.pieces, argv[3]);
  shape.config.vocab_size += tokenizer.vocab_size();
  puyu::Weights w = puyu::make_weights(shape.config, puyu::Head::kLanguage, puyu::DType::kF32);
  puyu::fill_weights(w);
  std::filesystem::create_directories(dir);
  if (std::string(shape.name) == "internlm2")
    puyu::save_model(dir, w, puyu::DType::kF32);
  else
    puyu::save_as_llama(dir, w);
  tokenizer.save(dir + "/tokenizer.puyu");
  return 0;
} catch (const puyu::Error& e) { return std::fprintf(stderr, "%s\n", e.what()), 1; }
