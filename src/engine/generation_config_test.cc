// generation_config.json: its sampling, its end tokens, and what is wrong in it.
#include "engine/generation_config.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temp_dir_test_util.h"
#include "engine/tiny_model.h"

namespace puyu {
namespace {

TEST(GenerationConfig, ReadsWhatItSays) {
  test::TempDir dir;
  EXPECT_EQ(read_generation_config(dir.path).sampling.temperature, SamplingOptions().temperature);
  EXPECT_TRUE(read_generation_config(dir.path).said.empty());
  write_file(dir / "config.json", R"({"eos_token_id":5})");
  EXPECT_EQ(read_generation_config(dir.path).stop_ids, std::vector<int32_t>{5});
  // Qwen2.5's.
  write_file(dir / "generation_config.json", R"({"bos_token_id":151643,"do_sample":true,"eos_token_id":[151645,151643],
    "pad_token_id":151643,"repetition_penalty":1.05,"temperature":0.7,"top_k":20,"top_p":0.8,"transformers_version":"4.37.0"})");
  const GenerationConfig g = read_generation_config(dir.path);
  EXPECT_EQ(g.stop_ids, (std::vector<int32_t>{151645, 151643}));
  EXPECT_EQ(g.sampling.temperature, 0.7);
  EXPECT_EQ(g.sampling.top_k, 20);
  EXPECT_EQ(g.sampling.repetition_penalty, 1.05);
  EXPECT_EQ(g.said, "temperature 0.7, top_p 0.8, repetition_penalty 1.05, top_k 20");
  write_file(dir / "generation_config.json", R"({"do_sample":false,"temperature":0.7})");
  EXPECT_EQ(read_generation_config(dir.path).sampling.temperature, 0);
  EXPECT_EQ(read_generation_config(dir.path).stop_ids, std::vector<int32_t>{5});  // config.json's
  for (const char* bad : {R"({"temperature":"hot"})", R"({"top_p":7})", R"({"eos_token_id":[-1]})", "{"}) {
    write_file(dir / "generation_config.json", bad);
    EXPECT_THROW(read_generation_config(dir.path), Error) << bad;
  }
}

TEST(GenerationConfig, EndsAnswersAtItsTokens) {
  test::TempDir dir;
  const auto model = tiny_model();
  save_model(dir.path, model->weights, DType::kF32);
  model->tokenizer.save(dir / "tokenizer.puyu");
  write_file(dir / "generation_config.json", R"({"eos_token_id":[2,77],"top_k":3})");
  const LocalModel loaded(dir.path);
  EXPECT_TRUE(loaded.is_stop(77));
  EXPECT_TRUE(loaded.is_stop(loaded.tokenizer.special("<|im_end|>")));
  EXPECT_EQ(loaded.generation.sampling.top_k, 3);
  EXPECT_EQ(loaded.encode({"", {{"user", "hello", ""}}}), encode_chat(loaded.tokenizer, {{"user", "hello", ""}}, true));
  ModelOptions o;
  o.chat_template = "llama2";
  const LocalModel named(dir.path, o);
  EXPECT_EQ(named.tokenizer.decode(named.encode({"", {{"user", "hello", ""}}}), true), "<s>[INST] hello [/INST]");
}

}  // namespace
}  // namespace puyu
