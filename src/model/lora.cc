#include "model/lora.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "tensor/device.h"
#include "tensor/safetensors.h"

namespace puyu {
namespace {

struct Config {
  std::string path;
  int64_t rank = 0;
  double scale = 0;
};

Config read_config(const std::string& dir) {
  Config out;
  out.path = dir + "/adapter_config.json";
  if (!file_exists(out.path)) fail("[lora] '", dir, "' holds no adapter_config.json; expected a PEFT adapter folder");
  const Json j = Json::parse(read_file(out.path), out.path);
  try {
    const std::string type = j.get("peft_type", std::string("LORA"));
    if (type != "LORA") fail("peft_type: expected LORA, got '", type, "'");
    out.rank = j.at("r").as_int();
    if (out.rank < 1 || out.rank > 4096) fail("r: expected 1 to 4096, got ", out.rank);
    const double alpha = j.at("lora_alpha").as_double(), r = static_cast<double>(out.rank);
    out.scale = j.get("use_rslora", false) ? alpha / std::sqrt(r) : alpha / r;
    // What would change the arithmetic and is not done here.
    if (j.get("use_dora", false)) fail("use_dora: DoRA is not supported");
    if (j.get("fan_in_fan_out", false)) fail("fan_in_fan_out: expected false");
    if (j.get("bias", std::string("none")) != "none") fail("bias: expected none, got '", j.at("bias").as_string(), "'");
    for (const char* key : {"modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication"})
      if (const Json* v = j.find(key); v && !v->is_null() && v->size() > 0) fail(key, ": not supported, expected none");
  } catch (const Error& e) { fail("[lora] ", out.path, ": ", e.what()); }
  return out;
}

// A and B as they stand in the file, in f32.
struct Factors {
  std::vector<float> a, b;  // [r, K], [N, r]; empty: none
  bool empty() const { return a.empty(); }
};

class Reader {
 public:
  Reader(Ctx& ctx, const std::string& dir, const ModelConfig& c)
      : ctx_(ctx), config_(read_config(dir)), c_(c), file_(dir + "/adapter_model.safetensors") {}

  int64_t rank() const { return config_.rank; }
  double scale() const { return config_.scale; }

  Factors find(int64_t layer, const std::string& module, int64_t N, int64_t K) {
    const std::string name = cat("base_model.model.model.layers.", layer, ".", module);
    Factors f{matrix(name + ".lora_A.weight", config_.rank, K), matrix(name + ".lora_B.weight", N, config_.rank)};
    if (f.a.empty() != f.b.empty())
      fail("[lora] ", file_.path(), ": ", name, ": lora_A and lora_B do not come together");
    return f;
  }

  // Nothing in the file may go unused: that would be another model than its author's.
  void check_all_used() const {
    if (used_.empty()) fail("[lora] ", file_.path(), ": holds no matrix of this model's blocks");
    for (const auto& [name, t] : file_.tensors())
      if (!used_.contains(name))
        fail("[lora] ", file_.path(), ": tensor '", name,
             "' fits nothing here; expected base_model.model.model.layers.N.MODULE.lora_A.weight with N below ",
             c_.num_layers, " and one of the modules of InternLM2's or LLaMA's blocks");
  }

 private:
  std::vector<float> matrix(const std::string& name, int64_t rows, int64_t cols) {
    const Tensor* t = file_.find(name);
    if (!t) return {};
    if (t->rank != 2 || t->shape[0] != rows || t->shape[1] != cols)
      fail("[lora] ", file_.path(), ": tensor '", name, "': expected [", rows, ", ", cols, "], got ", shape_string(*t));
    used_.insert(name);
    std::vector<float> out(static_cast<size_t>(rows * cols));
    cast(ctx_, make_view(out.data(), rows, cols), *t);
    return out;
  }

  Ctx& ctx_;
  Config config_;
  const ModelConfig& c_;
  SafeTensors file_;
  std::set<std::string> used_;
};

class Packer {
 public:
  Packer(Ctx& host, Ctx& ctx, Arena& arena, DType act) : host_(host), ctx_(ctx), arena_(arena), act_(act) {}
  LoraPair pair(const std::vector<float>& a, const std::vector<float>& b, int64_t rank) {
    return {pack(a, rank), pack(b, static_cast<int64_t>(b.size()) / rank)};
  }

 private:
  Tensor pack(const std::vector<float>& x, int64_t rows) {
    ScratchScope host_scope(*host_.scratch), scope(*ctx_.scratch);
    const int64_t cols = static_cast<int64_t>(x.size()) / rows;
    Tensor t = host_.scratch->alloc(act_, {rows, cols});
    cast(host_, t, make_view(const_cast<float*>(x.data()), rows, cols));
    t = place_in(*ctx_.scratch, t, ctx_.stream);
    return pack_weight(ctx_, arena_.alloc(DType::kU8, {packed_weight_bytes(ctx_, t)}).data, t);
  }
  Ctx &host_, &ctx_;
  Arena& arena_;
  DType act_;
};

// q_proj, k_proj and v_proj as one adapter of the interleaved wqkv (rows [KV][G + 2][HD], kernels.h): the ranks stand
// side by side, and each row of B is zero but for its own.
LoraPair join_qkv(Packer& pack, const ModelConfig& c, const std::array<Factors, 3>& parts, int64_t r) {
  const int64_t K = c.hidden_size, hd = c.hd(), group = c.num_heads / c.num_kv_heads, N = c.heads().row();
  std::vector<float> a(static_cast<size_t>(3 * r * K), 0.0f), b(static_cast<size_t>(N * 3 * r), 0.0f);
  for (size_t p = 0; p < 3; ++p) {
    if (parts[p].empty()) continue;
    std::copy(parts[p].a.begin(), parts[p].a.end(), a.begin() + static_cast<int64_t>(p) * r * K);
    for (int64_t row = 0; row < N; ++row) {
      const int64_t kv = row / hd / (group + 2), slot = row / hd % (group + 2), d = row % hd;
      if (p != static_cast<size_t>(slot < group ? 0 : slot - group + 1)) continue;
      const int64_t from = (p == 0 ? kv * group + slot : kv) * hd + d;
      std::copy_n(parts[p].b.begin() + from * r, r, b.begin() + row * 3 * r + static_cast<int64_t>(p) * r);
    }
  }
  return pack.pair(a, b, 3 * r);
}

}  // namespace

Lora load_lora(Ctx& host, Ctx& ctx, const std::string& dir, const ModelConfig& c, DType act) {
  Reader reader(host, dir, c);
  const int64_t r = reader.rank(), D = c.hidden_size, Q = c.num_heads * c.hd(), F = c.intermediate_size;
  const auto scale = static_cast<float>(reader.scale());
  Lora out;
  out.arena = std::make_unique<Arena>("adapter", int64_t{1} << 36, ctx.device);  // address space, not memory
  Packer pack(host, ctx, *out.arena, act);
  auto find = [&](int64_t layer, const char* module, int64_t N, int64_t K) {
    Factors f = reader.find(layer, module, N, K);
    for (float& x : f.b) x *= scale;
    return f;
  };
  struct Module {
    LoraPair Block<LoraPair>::* which;
    const char *ours, *llama;
    int64_t N, K;
  };
  const Module modules[] = {{&Block<LoraPair>::wo, "attention.wo", "self_attn.o_proj", D, Q},
                            {&Block<LoraPair>::w1, "feed_forward.w1", "mlp.gate_proj", F, D},
                            {&Block<LoraPair>::w3, "feed_forward.w3", "mlp.up_proj", F, D},
                            {&Block<LoraPair>::w2, "feed_forward.w2", "mlp.down_proj", D, F}};
  out.pairs.layers.resize(static_cast<size_t>(c.num_layers));
  for (int64_t l = 0; l < c.num_layers; ++l) {
    Block<LoraPair>& block = out.pairs.layers[static_cast<size_t>(l)];
    for (const Module& m : modules)
      for (const char* name : {m.ours, m.llama})
        if (const Factors f = find(l, name, m.N, m.K); !f.empty()) block.*m.which = pack.pair(f.a, f.b, r);
    if (const Factors f = find(l, "attention.wqkv", c.heads().row(), D); !f.empty())
      block.wqkv = pack.pair(f.a, f.b, r);
    const std::array<Factors, 3> qkv = {find(l, "self_attn.q_proj", Q, D),
                                        find(l, "self_attn.k_proj", c.num_kv_heads * c.hd(), D),
                                        find(l, "self_attn.v_proj", c.num_kv_heads * c.hd(), D)};
    if (!qkv[0].empty() || !qkv[1].empty() || !qkv[2].empty()) block.wqkv = join_qkv(pack, c, qkv, r);
  }
  reader.check_all_used();
  return out;
}

void add_lora(Ctx& ctx, Tensor y, Tensor x, std::span<const LoraRows> rows, LoraPair Block<LoraPair>::* which) {
  for (const LoraRows& r : rows) {
    const LoraPair& pair = r.block->*which;
    if (!pair.a) continue;
    ScratchScope scope(*ctx.scratch);
    Tensor low = ctx.scratch->alloc(x.dtype, {r.end - r.begin, pair.a.shape[0]}), out = y.rows(r.begin, r.end);
    linear(ctx, low, x.rows(r.begin, r.end), pair.a);
    linear(ctx, out, low, pair.b, out);
  }
}

}  // namespace puyu
