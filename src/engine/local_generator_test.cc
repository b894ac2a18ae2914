// Text in, text out, with a tokenizer trained here on a few sentences and a model of random weights.
#include "engine/local_generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "engine/tiny_model.h"

namespace puyu {
namespace {

SamplingOptions sampling(int max_tokens) {
  SamplingOptions o;
  o.temperature = 1, o.top_p = 1, o.max_tokens = max_tokens;
  return o;
}

TEST(TextStream, HoldsBackWhatMayBecomeAStop) {
  Tokenizer t = tiny_tokenizer();
  TextStream s(t, {"ENDE", "sat"});
  std::string shown;
  auto push = [&](const char* text) {
    for (int32_t id : t.encode(text)) shown += s.push(id);
  };
  push("the EN");
  EXPECT_EQ(shown, "the ");
  push("D of ");
  EXPECT_EQ(shown, "the END of ");
  push("cat sa");
  EXPECT_EQ(shown, "the END of cat ");
  push("t on the mat ENDE");
  EXPECT_EQ(shown, "the END of cat ");
  EXPECT_TRUE(s.stopped());
  EXPECT_EQ(s.finish(), "");
}

TEST(TextStream, WholeCharactersAndTheRestAtTheEnd) {
  Tokenizer t = tiny_tokenizer();
  TextStream s(t, {"话题"});
  std::string shown;
  for (int32_t id : t.encode("🐉对话")) {
    const std::string piece = s.push(id);
    EXPECT_EQ(piece.find("\xef\xbf\xbd"), std::string::npos);
    shown += piece;
  }
  EXPECT_EQ(shown, "🐉对");
  EXPECT_EQ(shown + s.finish(), "🐉对话");
}

TEST(LocalGenerator, BatchIsOneByOneAndStopTextsCut) {
  auto model = tiny_model({2, 16, 0});
  LocalGenerator g(model);
  const std::vector<Prompt> prompts = {{"the cat", {}}, {"", {{"user", "大模型?", ""}}}, {"", {}}};
  size_t called = 0;
  const auto all = g.generate(prompts, sampling(40), [&](size_t) { ++called; });
  EXPECT_EQ(called, 3u);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Generation one = g.generate({prompts[i]}, sampling(40))[0];
    EXPECT_EQ(one.text, all[i].text);
    EXPECT_EQ(one.tokens, all[i].tokens);
    EXPECT_EQ(one.prompt_tokens, static_cast<int64_t>(model->encode(prompts[i]).size()));
  }
  SamplingOptions o = sampling(40);
  o.stop = {all[0].text.substr(all[0].text.size() / 2, 3)};
  const Generation cut = g.generate({prompts[0]}, o)[0];
  EXPECT_EQ(cut.text, all[0].text.substr(0, all[0].text.find(o.stop[0])));
  EXPECT_EQ(cut.reason, FinishReason::kStop);
  EXPECT_EQ(cut.stop_text, o.stop[0]);
  EXPECT_EQ(all[0].stop_text, "");
  EXPECT_LT(cut.tokens, all[0].tokens);
}

TEST(LocalGenerator, StreamedPiecesAreTheText) {
  auto model = tiny_model();
  std::string pieces;
  Generation all;
  SamplingOptions o = sampling(60);
  o.stop = {"e", "大模型从"};
  std::vector<Request> r;
  r.push_back(model->request(
      {"hello", {}}, o, [&](const std::string& t) { return pieces += t, true; },
      [&](const Generation& g) { all = g; }));
  model->engine.run(std::move(r));
  EXPECT_EQ(pieces, all.text);
  EXPECT_EQ(all.text.find('e'), std::string::npos);
}

TEST(LocalGenerator, LogLikelihoodIsTheSumOfTokenLogProbs) {
  auto model = tiny_model();
  LocalGenerator g(model);
  const std::vector<Generator::Pair> pairs = {
      {{"the cat ", {}}, "sat on"}, {{"", {}}, "hello"}, {{"", {{"user", "hello", ""}}}, "大模型"}};
  const auto got = g.loglikelihood(pairs);
  for (size_t i = 0; i < pairs.size(); ++i) {
    std::vector<int32_t> ids = model->encode(pairs[i].context), all = ids;
    if (i == 2)
      for (int32_t id : model->tokenizer.encode(pairs[i].continuation)) all.push_back(id);
    else
      all = model->encode({pairs[i].context.text + pairs[i].continuation, {}});
    size_t shared = 0;
    while (shared < ids.size() && ids[shared] == all[shared]) ++shared;
    // The oracle: feed ever longer prompts, ask for the probability of the next token by greedy one-token requests.
    double sum = 0;
    bool greedy = true;
    model->engine.score({all}, [&](size_t, const Engine::Score& s) {
      for (size_t t = shared; t < all.size(); ++t) sum += s.logp[t - 1];
    });
    for (size_t t = shared; t < all.size(); ++t) {
      SamplingOptions o = sampling(1);
      o.temperature = 0;
      const auto r = model->engine.generate_tokens({{all.begin(), all.begin() + static_cast<long>(t)}}, o, {})[0];
      greedy = greedy && r.tokens[0] == all[t];
    }
    EXPECT_NEAR(got[i].sum, sum, 1e-9);
    EXPECT_EQ(got[i].greedy, greedy);
    EXPECT_EQ(got[i].tokens, static_cast<int64_t>(all.size() - shared));
  }
  EXPECT_THROW(g.loglikelihood({{{"a", {}}, ""}}), Error);
}

TEST(LocalModel, LoadsAFolderAndSaysWhatIsWrong) {
  test::TempDir folder;
  const std::string& dir = folder.path;
  EXPECT_THROW(LocalModel{dir}, Error);
  auto model = tiny_model();
  save_model(dir, model->weights, DType::kF32);
  EXPECT_THROW(LocalModel{dir}, Error);  // no tokenizer
  model->tokenizer.save(dir + "/tokenizer.puyu");
  LocalGenerator a(model), b(std::make_shared<LocalModel>(dir));
  EXPECT_EQ(a.generate({{"hello", {}}}, sampling(30))[0].text, b.generate({{"hello", {}}}, sampling(30))[0].text);
}

}  // namespace
}  // namespace puyu
