// Quantised folders in the engine: what is stored is what the engine would have made, bit for bit; and files of other
// programs compute what their numbers say.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/temp_dir_test_util.h"
#include "engine/engine_test_util.h"
#include "engine/pack_matrix.h"
#include "model/hf_names.h"
#include "model/quantize.h"

namespace puyu {
namespace {

ModelConfig shape(bool tied) {
  ModelConfig c = tiny();
  c.hidden_size = 160, c.intermediate_size = 320, c.num_heads = 4, c.tie_embeddings = tied;
  return c;
}

struct Lab {
  Arena scratch{"scratch", int64_t{1} << 30};
  Ctx ctx{Device::kCpu, &scratch};
  test::TempDir dir;
  std::string from = dir / "float", to = dir / "quantised";
  explicit Lab(DType dtype = DType::kF32, bool tied = false) {
    Weights w = random_weights(shape(tied), dtype);
    save_model(from, w, dtype);
    make_directories(to);
  }
  Weights load(const std::string& folder) { return load_for_inference(ctx, folder, Head::kLanguage); }
  void quantise(const std::string& scheme, const std::vector<std::vector<int32_t>>& sequences = {}) {
    Weights w = load(from);
    QuantizeOptions o;
    o.scheme = scheme, o.search_tokens = 64;
    quantize_model(ctx, w, sequences, o, to);
  }
};

TEST(QuantizedModel, PlainFoldersAreWhatLoadingMakes) {
  for (const std::string scheme : {"w8a8", "w4a16", "w4a8"})
    for (DType dtype : {DType::kF32, DType::kBF16})
      for (bool tied : {false, true}) {
        Lab lab(dtype, tied);
        lab.quantise(scheme);
        Weights a = lab.load(lab.from), b = lab.load(lab.to);
        EngineOptions o;
        o.weights = scheme;
        Engine at_load(a, o), stored(b);
        const auto prompts = prompts_of({5, 70, 33});
        const auto want = at_load.generate_tokens(prompts, sampling(20), {}),
                   got = stored.generate_tokens(prompts, sampling(20), {});
        for (size_t i = 0; i < prompts.size(); ++i)
          expect_same(got[i], want[i], cat(scheme, " ", dtype_name(dtype), tied ? " tied" : ""));
      }
}

// Mean |change of a token's log-prob| of what is in lab.to.
double distance(Lab& lab) {
  Weights a = lab.load(lab.from), b = lab.load(lab.to);
  Engine exact(a), stored(b);
  double sum = 0, n = 0;
  const auto texts = prompts_of({60, 50});
  std::vector<Engine::Score> want(2);
  exact.score(texts, [&](size_t i, const Engine::Score& s) { want[i] = s; });
  stored.score(texts, [&](size_t i, const Engine::Score& s) {
    for (size_t t = 0; t < s.logp.size(); ++t, ++n) sum += std::abs(s.logp[t] - want[i].logp[t]);
  });
  return sum / n;
}

TEST(QuantizedModel, CalibrationBringsItNearer) {
  for (const std::string scheme : {"w8a8", "w4a16"}) {
    Lab lab(DType::kF32);
    Weights strong = random_weights(shape(false), DType::kF32);
    for (Block<Tensor>& b : strong.master.tensors.layers)
      for (int64_t k : {2, 77, 140}) b.attention_norm.as<float>()[k] *= 20, b.ffn_norm.as<float>()[k] *= 20;
    save_model(lab.from, strong, DType::kF32);
    lab.quantise(scheme);
    const double plain = distance(lab);
    lab.quantise(scheme, prompts_of({40, 40, 40}));
    const double calibrated = distance(lab);
    EXPECT_GT(calibrated, 0) << scheme;
    EXPECT_LT(calibrated, 0.8 * plain) << scheme;
  }
}

TEST(QuantizedModel, DamageAndContradictionsAreErrors) {
  Lab lab;
  lab.quantise("w4a16");
  Weights w = lab.load(lab.to);
  EngineOptions o;
  o.weights = "w8a8";
  EXPECT_THROW(Engine(w, o), Error);
  o.weights = "w4a16";
  EXPECT_NO_THROW(Engine(w, o));
  EXPECT_THROW(quantize_model(lab.ctx, w, {}, {}, lab.from), Error);  // twice
  const std::string file = lab.to + "/model.safetensors";
  std::string bytes = read_file(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file(file, bytes);
  try {
    lab.load(lab.to);
    ADD_FAILURE() << "a flipped bit was not seen";
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("checksum"), std::string::npos) << e.what(); }
}

// An AWQ checkpoint with LLaMA's names, packed here from known numbers, computes what a float model of
// scale (q - zero) computes, up to the rounding of the activations' type.
TEST(QuantizedModel, AwqCheckpointsComputeTheirNumbers) {
  Lab lab;
  ModelConfig c = shape(false);
  c.hidden_size = 128, c.intermediate_size = 256;
  Weights w = random_weights(c, DType::kF32);
  std::vector<NamedTensor> list;
  Arena keep("tensors", int64_t{1} << 28);
  w.master.tensors.each(c, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t layer) {
    if (layer < 0 || t.rank == 1) return list.push_back({file_names(name, true)[0], t});
    const QuantizedWeight q = quantize_weight(lab.ctx, t, "w4a16");
    for (int64_t i = 0; i < q.scale.numel(); ++i) q.scale.as<float>()[i] = to_float(to_bf16(q.scale.as<float>()[i]));
    dequantize(q, t);  // the float model is what the numbers mean
    const std::vector<std::string> names = file_names(name, true);
    const int64_t K = t.shape[1], groups = K / 128, kv = 2, group = 2, hd = c.hd();
    for (size_t part = 0; part < names.size(); ++part) {
      std::vector<int64_t> rows;  // of t that belong to this part
      for (int64_t n = 0; n < t.shape[0]; ++n) {
        const int64_t slot = n / hd % (group + 2);
        if (names.size() == 1 || part == static_cast<size_t>(std::max<int64_t>(0, slot - group + 1))) rows.push_back(n);
      }
      ASSERT_EQ(static_cast<int64_t>(rows.size()), names.size() == 1 ? t.shape[0] : part == 0 ? 4 * hd : kv * hd);
      const auto N = static_cast<int64_t>(rows.size());
      Tensor qw = keep.alloc(DType::kI32, {K, N / 8}), qz = keep.alloc(DType::kI32, {groups, N / 8}),
             s = keep.alloc(DType::kBF16, {groups, N});
      const int place[] = {0, 4, 1, 5, 2, 6, 3, 7};
      for (int64_t j = 0; j < N; ++j) {
        const int64_t n = rows[static_cast<size_t>(j)];
        for (int64_t k = 0; k < K; ++k)
          qw.as<int32_t>()[k * N / 8 + j / 8] |= static_cast<int32_t>(
              static_cast<uint32_t>(static_cast<uint8_t*>(q.q.data)[n * K + k]) << (4 * place[j % 8]));
        for (int64_t g = 0; g < groups; ++g) {
          qz.as<int32_t>()[g * N / 8 + j / 8] |=
              static_cast<int32_t>(static_cast<uint32_t>(q.zero.as<float>()[n * groups + g]) << (4 * place[j % 8]));
          s.as<BF16>()[g * N + j] = to_bf16(q.scale.as<float>()[n * groups + g]);
        }
      }
      const std::string base = names[part].substr(0, names[part].size() - 7);
      list.push_back({base + ".qweight", qw}), list.push_back({base + ".qzeros", qz}),
          list.push_back({base + ".scales", s});
    }
  });
  const std::string folder = lab.dir / "awq";
  make_directories(folder);
  write_safetensors(folder + "/model.safetensors", list, {});
  write_file(folder + "/config.json",
             cat(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":67,"hidden_size":128,)",
                 R"("num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":256,)",
                 R"("rms_norm_eps":1e-5,"rope_theta":10000,"max_position_embeddings":512,"hidden_act":"silu",)",
                 R"("quantization_config":{"quant_method":"awq","bits":4,"group_size":128,"version":"gemm"}})"));
  Weights stored = lab.load(folder);
  EXPECT_FALSE(stored.use().layers[0].wqkv);  // no floats were made
  Engine exact(w), engine(stored);
  const auto texts = prompts_of({100, 60});
  std::vector<Engine::Score> want(2);
  exact.score(texts, [&](size_t i, const Engine::Score& s) { want[i] = s; });
  engine.score(texts, [&](size_t i, const Engine::Score& s) {
    for (size_t t = 0; t < s.logp.size(); ++t) EXPECT_NEAR(s.logp[t], want[i].logp[t], 2e-3);
  });
  // Loaded to train or to convert it has the floats.
  Weights floats = load_model(lab.ctx, folder, Head::kLanguage, DType::kF32);
  for (size_t l = 0; l < 2; ++l)
    EXPECT_EQ(0, std::memcmp(floats.master.tensors.layers[l].wqkv.data, w.master.tensors.layers[l].wqkv.data,
                             static_cast<size_t>(w.master.tensors.layers[l].wqkv.nbytes())));
}

}  // namespace
}  // namespace puyu
