// A model and its tokenizer through GGUF and back.
#include "model/gguf_model.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "engine/gguf_tokenizer.h"
#include "engine/tiny_model.h"
#include "model/hf_folder_test_util.h"
#include "text/tokenizer_json.h"

namespace puyu {
namespace {

struct Lab {
  Arena scratch{"scratch", 1 << 28};
  Ctx ctx{Device::kCpu, &scratch};
  test::TempDir dir;
  std::string folder = dir / "model", file = dir / "model.gguf";
  std::shared_ptr<LocalModel> model = tiny_model();
  Lab() {
    save_model(folder, model->weights, DType::kF32);
    model->tokenizer.save(folder + "/tokenizer.puyu");
  }
  void convert(GgmlType type) {
    GgufMetadata m;
    const auto source = open_model_source(folder);
    add_gguf_tokenizer(model->tokenizer, source->config().vocab_size, m);
    export_gguf(ctx, *source, std::move(m), type, file);
  }
};

TEST(GgufModel, ComesBackBitForBitInF32) {
  Lab lab;
  lab.convert(GgmlType::kF32);
  Weights w = load_model(lab.ctx, lab.file, Head::kLanguage, DType::kF32);
  std::vector<Tensor> want;
  lab.model->weights.master.tensors.each(w.config, w.head,
                                         [&](const std::string&, Tensor& t, Spec, int64_t) { want.push_back(t); });
  size_t i = 0;
  w.master.tensors.each(w.config, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    EXPECT_EQ(0, std::memcmp(t.data, want[i++].data, static_cast<size_t>(t.nbytes()))) << name;
  });
  EXPECT_EQ(w.config.max_position, lab.model->weights.config.max_position);
  EXPECT_EQ(w.config.rope_theta, lab.model->weights.config.rope_theta);
  // Mapped where it stands as it is needed.
  Weights run = load_for_inference(lab.ctx, lab.file, Head::kLanguage);
  EXPECT_EQ(run.compute, DType::kF32);
  EXPECT_EQ(run.use().layers[0].w2.data, run.source->view("model.layers.0.feed_forward.w2.weight", DType::kF32).data);
}

// ggml rotates neighbours: row 2 i of a head there is our row i, 2 i + 1 is i + HD / 2.
TEST(GgufModel, RowsOfQAndKStandInGgmlsOrder) {
  Lab lab;
  lab.convert(GgmlType::kF32);
  const Gguf f(lab.file);
  const ModelConfig& c = lab.model->weights.config;  // 4 heads, 2 kv heads, HD 8
  const float* wqkv = lab.model->weights.master.tensors.layers[1].wqkv.as<float>();
  auto row = [&](const char* name, int64_t r) {
    return reinterpret_cast<const float*>(f.tensors().at(name).data) + r * c.hidden_size;
  };
  auto same = [&](const float* a, int64_t ours) {
    return std::memcmp(a, wqkv + ours * c.hidden_size, static_cast<size_t>(c.hidden_size) * 4) == 0;
  };
  // wqkv: q0 q1 k0 v0 q2 q3 k1 v1.
  EXPECT_TRUE(same(row("blk.1.attn_q.weight", 0), 0));
  EXPECT_TRUE(same(row("blk.1.attn_q.weight", 1), 4));
  EXPECT_TRUE(same(row("blk.1.attn_q.weight", 2), 1));
  EXPECT_TRUE(same(row("blk.1.attn_q.weight", 2 * 8 + 3), 4 * 8 + 5));
  EXPECT_TRUE(same(row("blk.1.attn_k.weight", 8 + 2), 6 * 8 + 1));
  EXPECT_TRUE(same(row("blk.1.attn_v.weight", 8 + 2), 7 * 8 + 2));
}

// Biases, in llama's order of rows and in qwen2's, which is that of Hugging Face.
TEST(GgufModel, BiasesComeBackBitForBit) {
  Lab lab;
  for (const bool qwen : {true, false}) {
    test::TempDir dir;
    ModelConfig c = lab.model->weights.config;
    c.qkv_bias = true, c.wo_bias = !qwen;
    Weights w = make_weights(c, Head::kLanguage, DType::kF32);
    init_weights(w, 3);
    for (auto& layer : w.master.tensors.layers)
      for (Tensor t : {layer.wqkv_bias, layer.wo_bias})
        for (int64_t i = 0; i < (t ? t.numel() : 0); ++i) t.as<float>()[i] = 0.01f * static_cast<float>(i);
    save_model(dir.path, w, DType::kF32);
    if (qwen) {
      std::filesystem::remove(dir / "model.safetensors");
      llamas(w, DType::kF32).write(dir.path, 1);
      Json j = Json::parse(read_file(dir / "config.json"));
      j["model_type"] = "qwen2", j["bias"] = false;
      write_file(dir / "config.json", j.dump());
    }
    const std::string file = dir / "m.gguf";
    export_gguf(lab.ctx, *open_model_source(dir.path), {}, GgmlType::kF32, file);
    const Gguf f(file);
    EXPECT_EQ(f.text("general.architecture"), qwen ? "qwen2" : "llama");
    const auto* q = reinterpret_cast<const float*>(f.tensors().at("blk.1.attn_q.bias").data);
    EXPECT_EQ(q[1], qwen ? 0.01f : 0.04f);  // head dimension 8: row 1 there is row 4 here
    const Weights back = load_model(lab.ctx, file, Head::kLanguage, DType::kF32);
    std::vector<Tensor> want;
    w.master.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { want.push_back(t); });
    size_t i = 0;
    Model<Tensor> got = back.master.tensors;
    got.each(back.config, back.head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
      ASSERT_LT(i, want.size());
      EXPECT_EQ(0, std::memcmp(t.data, want[i++].data, static_cast<size_t>(t.nbytes()))) << name;
    });
    EXPECT_EQ(i, want.size());
  }
}

TEST(GgufModel, TokenizersKeepTheirIdsAndTexts) {
  Lab lab;
  lab.convert(GgmlType::kF16);
  const Tokenizer t = load_tokenizer(lab.file);
  const Tokenizer& want = lab.model->tokenizer;
  EXPECT_EQ(t.vocab_size(), want.vocab_size());  // the model's padding is none of its pieces
  for (const char* text :
       {"hello world", "大模型从原始文本到对话 🐉", "", " two  spaces ", "\xff\xfe bytes", "<|im_start|>"}) {
    EXPECT_EQ(t.encode(text), want.encode(text)) << text;
    EXPECT_EQ(t.decode(t.encode(text)), want.decode(want.encode(text))) << text;
  }
  EXPECT_EQ(t.special("<|im_end|>"), want.special("<|im_end|>"));
  EXPECT_EQ(t.bos(), want.bos());
}

TEST(GgufModel, ByteLevelTokenizersKeepTheirIds) {
  test::TempDir dir;
  Vocabulary v;
  auto hf = std::make_shared<HfBpe>();
  hf->byte_level = true;
  hf->normalize.push_back({NormalizeStep::Kind::kNfc, "", ""});
  hf->split.push_back(
      {.kind = SplitStep::Kind::kPattern,
       .pattern = SplitPattern(
           R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")});
  v.byte_fallback = false;
  BpeParts parts;
  for (int b = 0; b < 256; ++b) parts.pieces.push_back(bytes_to_letters(std::string(1, static_cast<char>(b))));
  for (auto [l, r] : {std::pair{"a", "b"}, {" ", "t"}, {" t", "he"}, {"h", "e"}}) {
    parts.merges.emplace_back(bytes_to_letters(l), bytes_to_letters(r));
    parts.pieces.push_back(bytes_to_letters(std::string(l) + r));
  }
  set_pieces(parts, *hf, v);
  add_token({.id = 260, .text = "<|im_end|>", .special = true}, *hf, v);
  add_token({.id = 261, .text = "<tool_call>"}, *hf, v);
  v.eos = 260, v.chat_template = "{{ '<|im_start|>' }}", v.hf = hf;
  const Tokenizer want = Tokenizer::from(v);
  GgufMetadata m;
  m.add("general.architecture", "qwen2");
  add_gguf_tokenizer(want, 270, m);
  write_gguf(dir / "t.gguf", m, {});
  const Tokenizer got = load_tokenizer(dir / "t.gguf");
  for (const char* text : {"ab the 'S 123", "<tool_call><|im_end|>", "e\u0301 \r\n x", ""}) {
    EXPECT_EQ(got.encode(text), want.encode(text)) << text;
    EXPECT_EQ(got.encode_with_specials(text), want.encode_with_specials(text)) << text;
  }
  EXPECT_EQ(got.vocab_size(), 262);
  EXPECT_EQ(got.eos(), 260);
  EXPECT_FALSE(got.has_bos());
  EXPECT_TRUE(got.prefix().empty());
  EXPECT_EQ(got.vocabulary().chat_template, v.chat_template);
  auto odd = std::make_shared<HfBpe>(*hf);
  odd->split.clear();
  v.hf = odd;
  GgufMetadata none;
  EXPECT_THROW(add_gguf_tokenizer(Tokenizer::from(v), 270, none), Error);  // no name for that
}

TEST(GgufModel, AnswersAsItsFolder) {
  Lab lab;
  lab.convert(GgmlType::kF32);
  SamplingOptions o;
  o.temperature = 0, o.max_tokens = 30;
  auto answer = [&](const std::string& path) {
    LocalGenerator g(std::make_shared<LocalModel>(path));
    return g.generate({{"the cat sat", {}}, {"", {{"user", "hello", ""}}}}, o);
  };
  const auto a = answer(lab.folder), b = answer(lab.file);
  EXPECT_EQ(a[0].text, b[0].text);
  EXPECT_EQ(a[1].text, b[1].text);
  EXPECT_FALSE(a[0].text.empty());
}

TEST(GgufModel, QuantisedRowsAreNear) {
  Lab lab;
  const std::pair<GgmlType, double> kinds[] = {
      {GgmlType::kF16, 0.001}, {GgmlType::kBF16, 0.005}, {GgmlType::kQ8_0, 0.01}, {GgmlType::kQ4_0, 0.13}};
  for (auto [type, bound] : kinds) {
    if (ggml_format(type)->block > 1) {  // rows of 48 are no multiple of 32
      EXPECT_THROW(lab.convert(type), Error);
      continue;
    }
    lab.convert(type);
    Weights w = load_model(lab.ctx, lab.file, Head::kLanguage, DType::kF32);
    const Tensor a = w.master.tensors.layers[0].w2, b = lab.model->weights.master.tensors.layers[0].w2;
    for (int64_t i = 0; i < a.numel(); ++i)
      EXPECT_NEAR(a.as<float>()[i], b.as<float>()[i], bound * std::fabs(b.as<float>()[i]) + 1e-7);
  }
}

TEST(GgufModel, OtherArchitecturesAreRefused) {
  Lab lab;
  GgufMetadata m;
  m.add("general.architecture", "gpt2");
  write_gguf(lab.file, m, {});
  EXPECT_THROW(open_model_source(lab.file), Error);
  GgufMetadata empty;
  write_gguf(lab.file, empty, {});
  EXPECT_THROW(open_model_source(lab.file), Error);
}

}  // namespace
}  // namespace puyu
