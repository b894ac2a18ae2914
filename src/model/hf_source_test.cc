// Model folders as other programs write them: shards, LLaMA's names, f16; and what must be refused.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/temp_dir_test_util.h"
#include "model/hf_config.h"
#include "model/hf_folder_test_util.h"
#include "model/model.h"

namespace puyu {
namespace {

ModelConfig tiny() {
  ModelConfig c;
  c.vocab_size = 40, c.hidden_size = 32, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 48, c.rope_theta = 1e4, c.max_position = 64;
  return c;
}

struct Lab {
  Arena scratch{"scratch", 1 << 26};
  Ctx ctx{Device::kCpu, &scratch};
  Weights weights(DType compute, const ModelConfig& c = tiny()) {
    Weights w = make_weights(c, Head::kLanguage, compute);
    init_weights(w, 5);
    // Multiples of 2^-10 below 1: f32, bf16 and f16 all hold them exactly.
    w.master.tensors.each(w.config, w.head, [](const std::string&, Tensor& t, Spec, int64_t) {
      for (int64_t i = 0; i < t.numel(); ++i)
        t.as<float>()[i] = static_cast<float>((i * 37 + t.shape[0]) % 200 - 100) / 1024;
    });
    w.refresh_copy(ctx);
    return w;
  }
};

std::string config(const std::string& type, const std::string& more = "") {
  return cat(R"({"architectures":["XForCausalLM"],"model_type":")", type,
             R"(","vocab_size":40,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,)",
             R"("num_key_value_heads":2,"intermediate_size":48,"rms_norm_eps":1e-5,"rope_theta":10000,)",
             R"("max_position_embeddings":64,"hidden_act":"silu")", more, "}");
}

void expect_same_bits(Model<Tensor>& a, Model<Tensor>& b, const std::string& what, const ModelConfig& c = tiny()) {
  std::vector<Tensor> want;
  a.each(c, Head::kLanguage, [&](const std::string&, Tensor& t, Spec, int64_t) { want.push_back(t); });
  size_t i = 0;
  b.each(c, Head::kLanguage, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    ASSERT_EQ(t.nbytes(), want[i].nbytes());
    EXPECT_EQ(0, std::memcmp(t.data, want[i].data, static_cast<size_t>(t.nbytes()))) << what << ": " << name;
    ++i;
  });
}

TEST(HfSource, ReadsShardsNamesAndTypes) {
  Lab lab;
  for (const std::string type : {"internlm2", "llama", "mistral", "internlm3"})
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
      for (size_t shards : {1, 3}) {
        test::TempDir dir;
        Weights w = lab.weights(DType::kBF16);
        (type == "internlm2" ? ours(w, dtype) : llamas(w, dtype)).write(dir.path, shards);
        write_file(dir / "config.json", config(type));
        const std::string what = cat(type, " ", dtype_name(dtype), " ", shards);
        Weights train = load_model(lab.ctx, dir.path, Head::kLanguage, DType::kBF16);
        expect_same_bits(w.master.tensors, train.master.tensors, what);
        expect_same_bits(w.copy.tensors, train.copy.tensors, what);
        Weights run = load_for_inference(lab.ctx, dir.path, Head::kLanguage);
        EXPECT_EQ(run.compute, dtype == DType::kF32 ? DType::kF32 : DType::kBF16);
        expect_same_bits(dtype == DType::kF32 ? w.master.tensors : w.copy.tensors, run.use(), what);
        // Mapped, not copied, where the file has it so.
        const bool mapped = type == "internlm2" && dtype != DType::kF16;
        EXPECT_EQ(
            run.use().layers[0].wqkv.data == run.source->view("model.layers.0.attention.wqkv.weight", run.compute).data,
            mapped)
            << what;
      }
}

TEST(HfSource, Biases) {
  Lab lab;
  struct {
    const char *type, *more;
    bool wo;
  } const families[] = {
      {"qwen2", "", false},
      {"qwen2", R"(,"use_sliding_window":false,"sliding_window":8,"tie_word_embeddings":true)", false},
      {"llama", R"(,"attention_bias":true)", true},
      {"internlm2", R"(,"bias":true)", true},
      {"internlm3", R"(,"qkv_bias":true,"bias":false)", false}};
  for (const auto& f : families)
    for (DType dtype : {DType::kF32, DType::kF16}) {
      test::TempDir dir;
      ModelConfig c = tiny();
      c.qkv_bias = true, c.wo_bias = f.wo, c.tie_embeddings = std::string(f.more).find("tie_") != std::string::npos;
      Weights w = lab.weights(DType::kBF16, c);
      (f.type == std::string("internlm2") ? ours(w, dtype) : llamas(w, dtype)).write(dir.path, 2);
      write_file(dir / "config.json", config(f.type, f.more));
      const std::string what = cat(f.type, f.more, " ", dtype_name(dtype));
      Weights train = load_model(lab.ctx, dir.path, Head::kLanguage, DType::kBF16);
      EXPECT_EQ(train.config.max_position, 64) << what;
      expect_same_bits(w.master.tensors, train.master.tensors, what, c);
      Weights run = load_for_inference(lab.ctx, dir.path, Head::kLanguage);
      expect_same_bits(dtype == DType::kF32 ? w.master.tensors : w.copy.tensors, run.use(), what, c);
    }
}

TEST(HfSource, RewardModelsHaveAHeadOfTheirOwn) {
  Lab lab;
  test::TempDir dir;
  Weights w = make_weights(tiny(), Head::kValue, DType::kF32);
  init_weights(w, 3);
  save_model(dir.path, w, DType::kF32);
  EXPECT_EQ(open_model_source(dir.path)->head(), Head::kValue);
  Weights r = load_model(lab.ctx, dir.path, Head::kValue, DType::kF32);
  EXPECT_EQ(0, std::memcmp(r.master.tensors.output.data, w.master.tensors.output.data, 32 * 4));
  EXPECT_THROW(load_model(lab.ctx, dir.path, Head::kLanguage, DType::kF32), Error);  // it has no language head
  EXPECT_THROW(load_for_inference(lab.ctx, dir.path, Head::kLanguage), Error);
  // As InternLM2's reward checkpoints are published: shards in f16, the head's own name, the token that is scored.
  for (const char* more : {"", R"(,"reward_token_id":7)"}) {
    test::TempDir published;
    Files files;
    w.master.tensors.each(w.config, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
      for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = static_cast<float>(i % 100 - 50) / 1024;
      files.add(name, t, DType::kF16);
    });
    files.write(published.path, 2);
    std::string text = config("internlm2", more);
    text.replace(text.find("XForCausalLM"), 12, "InternLM2ForRewardModel");
    write_file(published / "config.json", text);
    const Weights value = load_for_inference(lab.ctx, published.path, Head::kValue);
    EXPECT_EQ(to_float(value.copy.tensors.output.as<BF16>()[3]), -47.0f / 1024);
    EXPECT_EQ(read_hf_config(published.path).reward_token, *more ? 7 : -1);
  }
}

TEST(HfSource, ConfigsOfOtherFamilies) {
  auto parse = [](const std::string& more, const std::string& type = "llama") {
    return parse_hf_config(Json::parse(config(type, more), "config"));
  };
  ModelConfig c = parse(R"(,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,)"
                        R"("original_max_position_embeddings":32})")
                      .model;
  EXPECT_EQ(c.rope_scaling, "llama3");
  EXPECT_EQ(c.rope_factor, 8);
  EXPECT_EQ(c.rope_original_position, 32);
  c = parse(R"(,"rope_scaling":{"type":"dynamic","factor":2.0})", "internlm2").model;
  EXPECT_EQ(c.rope_scaling, "dynamic");
  EXPECT_EQ(c.context(), 128);
  c = parse(R"(,"rope_parameters":{"rope_type":"yarn","rope_theta":5e5,"factor":4,"beta_fast":16})").model;
  EXPECT_EQ(c.rope_theta, 5e5);
  EXPECT_EQ(c.rope_beta_fast, 16);
  EXPECT_EQ(parse(R"(,"sliding_window":16)", "mistral").model.max_position, 16);
  EXPECT_EQ(parse(R"(,"sliding_window":null)", "mistral").model.max_position, 64);
  EXPECT_TRUE(parse(R"(,"tie_word_embeddings":true)").model.tie_embeddings);
  // Written and read again.
  ModelConfig y = tiny();
  y.rope_scaling = "yarn", y.rope_factor = 4, y.rope_original_position = 32, y.rope_beta_slow = 2;
  const ModelConfig again = parse_hf_config(to_hf_config(y, Head::kLanguage)).model;
  EXPECT_EQ(again.rope_scaling, "yarn");
  EXPECT_EQ(again.rope_beta_slow, 2);
  EXPECT_EQ(again.rope_original_position, 32);
  const std::pair<const char*, const char*> bad[] = {
      {R"(,"mlp_bias":true)", "mlp_bias"},
      {R"(,"num_local_experts":8)", "num_local_experts"},
      {R"(,"partial_rotary_factor":0.5)", "partial_rotary_factor"},
      {R"(,"rope_scaling":{"type":"longrope","factor":2})", "rope_scaling"},
      {R"(,"rope_scaling":{"type":"linear"})", "factor"}};
  for (auto [more, part] : bad) try {
      parse(more);
      ADD_FAILURE() << more;
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what(); }
  EXPECT_THROW(parse("", "gpt2"), Error);
  EXPECT_THROW(parse(R"(,"bias":true)", "internlm3"), Error);  // of its feed-forward part too
}

TEST(HfSource, BrokenFoldersAreErrorsThatSayWhat) {
  Lab lab;
  Weights w = lab.weights(DType::kF32);
  auto expect = [&](const std::string& part, const std::function<void(const std::string&, Files&)>& spoil) {
    test::TempDir dir;
    Files files = llamas(w, DType::kF32);
    write_file(dir / "config.json", config("llama"));
    files.write(dir.path, 2);
    spoil(dir.path, files);
    try {
      load_model(lab.ctx, dir.path, Head::kLanguage, DType::kF32);
      ADD_FAILURE() << "expected an error with '" << part << "'";
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what(); }
  };
  const std::string second = "/model-00002-of-00002.safetensors";
  expect("is missing from the folder", [&](auto& dir, Files&) { std::filesystem::remove(dir + second); });
  expect("cut off", [&](auto& dir, Files&) {
    const std::string bytes = read_file(dir + second);
    write_file(dir + second, bytes.substr(0, bytes.size() - 7));
  });
  expect("the index says", [&](auto& dir, Files& f) { write_safetensors(dir + second, {f.list[0], f.list[1]}, {}); });
  expect("no file name", [&](auto& dir, Files&) {
    write_file(dir + "/model.safetensors.index.json", R"({"weight_map":{"a":"../../etc/x.safetensors"}})");
  });
  expect("neither", [&](auto& dir, Files&) { std::filesystem::remove(dir + "/model.safetensors.index.json"); });
  expect("has no place", [&](auto& dir, Files& f) {
    std::vector<float> bias(32);
    f.add("model.layers.0.self_attn.q_proj.bias", make_view(bias.data(), 32), DType::kF32);
    f.write(dir, 2);
  });
  expect("self_attn.q_proj.bias' is missing",
         [&](auto& dir, Files&) { write_file(dir + "/config.json", config("llama", R"(,"attention_bias":true)")); });
  expect("'model.norm.weight' is missing", [&](auto& dir, Files& f) {
    std::erase_if(f.list, [](const NamedTensor& t) { return t.name == "model.norm.weight"; });
    f.write(dir, 2);
  });
  expect("expected [16, 32]", [&](auto& dir, Files& f) {
    for (NamedTensor& t : f.list)
      if (t.name == "model.layers.1.self_attn.k_proj.weight") t.tensor = t.tensor.view(32, 16);
    f.write(dir, 2);
  });
}

}  // namespace
}  // namespace puyu
