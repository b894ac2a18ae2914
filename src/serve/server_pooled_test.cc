// Embeddings and scores over HTTP.
#include "serve/server_testing.h"

#include "serve/pooled.h"

namespace puyu {
namespace {

TEST_F(ServeTest, EmbeddingsDoNotDependOnCompany) {
  start();
  auto embed = [&](const std::string& input, const std::string& more = "") {
    const Answer a = call("POST", "/v1/embeddings", cat(R"({"model":"tiny","input":)", input, more, "}"));
    EXPECT_EQ(a.status, 200u) << a.body;
    return Json::parse(a.body);
  };
  auto vector = [](const Json& j, size_t i) { return j.at("data").as_array().at(i).at("embedding"); };
  const Json alone = embed(R"("the cat sat")");
  EXPECT_EQ(vector(alone, 0).size(), 32u);
  std::vector<std::thread> company;
  for (int i = 0; i < 6; ++i)
    company.emplace_back([&, i] { call("POST", "/v1/chat/completions", chat(cat("word ", i), 60, i % 2 == 0)); });
  std::string list;
  for (int i = 0; i < 40; ++i) list += cat(i ? "," : "", i % 3 ? R"("the cat sat")" : cat("\"word ", i, "\""));
  const Json many = embed("[" + list + "]");
  for (auto& c : company) c.join();
  ASSERT_EQ(many.at("data").size(), 40u);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(many.at("data").as_array()[i].at("index").as_int(), static_cast<int64_t>(i));
    EXPECT_EQ(vector(many, i) == vector(alone, 0), i % 3 != 0) << i;
  }
  // The same as ids, and as the bytes of its floats.
  std::vector<int32_t> ids = model->encode({"the cat sat", {}});
  std::string text = "[";
  for (size_t i = 0; i < ids.size(); ++i) text += cat(i ? "," : "", ids[i]);
  EXPECT_EQ(vector(embed(text + "]"), 0), vector(alone, 0));
  EXPECT_EQ(alone.at("usage").at("prompt_tokens").as_int(), static_cast<int64_t>(ids.size()));
  std::string floats;
  const Json numbers = vector(alone, 0);
  for (const Json& v : numbers.as_array()) {
    const auto f = static_cast<float>(v.as_double());
    floats.append(reinterpret_cast<const char*>(&f), sizeof f);
  }
  EXPECT_EQ(vector(embed(R"("the cat sat")", R"(,"encoding_format":"base64")"), 0), Json(base64(floats)));
  std::vector<float> engine;  // and what the engine gives without a server
  auto other = tiny_model();
  Request q;
  q.prompt = ids, q.wants = Request::Wants::kEmbedding;
  q.on_values = [&](std::span<const float> v) { engine.assign(v.begin(), v.end()); };
  std::vector<Request> one;
  one.push_back(std::move(q));
  other->engine.run(std::move(one));
  EXPECT_EQ(floats, std::string(reinterpret_cast<const char*>(engine.data()), engine.size() * sizeof(float)));
  EXPECT_EQ(server->pending(), 0);
}

TEST_F(ServeTest, WrongEmbeddingsNameTheirField) {
  start();
  const std::pair<const char*, const char*> wrong[] = {{R"("input":"")", "input"},
                                                       {R"("input":[])", "input"},
                                                       {R"("input":["a",""])", "input[1]"},
                                                       {R"("input":["a",3])", "input[1]"},
                                                       {R"("input":[[1],[]])", "input[1]"},
                                                       {R"("input":[-1])", "input[0]"},
                                                       {R"("input":{})", "input"},
                                                       {R"("model":"tiny")", "input"},
                                                       {R"("input":"a","encoding_format":"hex")", "encoding_format"},
                                                       {R"("input":"a","dimensions":16)", "dimensions"},
                                                       {R"("input":"a","priority":11)", "priority"},
                                                       {R"("input":"a","user":7)", "user"},
                                                       {R"("input":"a","more":1)", "more"},
                                                       {R"("input":[99999])", "input"},
                                                       {R"("input":["a",[99999]])", "input[1]"}};
  for (auto [fields, param] : wrong) {
    const bool named = std::string(fields).find("\"model\"") != std::string::npos;
    const Answer a = call("POST", "/v1/embeddings", cat(named ? "{" : R"({"model":"tiny",)", fields, "}"));
    EXPECT_EQ(a.status, 400u) << fields;
    EXPECT_EQ(Json::parse(a.body).at("error").at("param"), Json(param)) << a.body;
  }
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"x","input":"a"})").status, 404u);
  EXPECT_EQ(call("GET", "/v1/embeddings").status, 405u);
  const Answer none = call("POST", "/v1/score", R"({"model":"tiny","input":[{"role":"user","content":"a"}]})");
  EXPECT_EQ(none.status, 400u);
  EXPECT_NE(none.body.find("value head"), std::string::npos) << none.body;
  EXPECT_EQ(server->pending(), 0);
}

TEST_F(ServeTest, AnInputTooLongForTheCacheFailsTheWholeRequestByItsPlace) {
  start();
  std::string ids = "1";
  for (int i = 0; i < 256; ++i) ids += ",1";
  const Answer a = call("POST", "/v1/embeddings", cat(R"({"model":"tiny","input":[[1],[)", ids, "]]}"));
  EXPECT_EQ(a.status, 400u);
  EXPECT_EQ(Json::parse(a.body).at("error").at("param"), Json("input[1]"));
  EXPECT_TRUE(becomes_idle());
}

TEST_F(ServeTest, ARewardModelScoresChats) {
  auto language = tiny_model();
  Weights w = make_weights(language->weights.config, Head::kValue, DType::kF32);
  init_weights(w, 3);
  model = std::make_shared<LocalModel>(language->tokenizer, std::move(w), EngineOptions{4, 64, 0});
  start();
  const std::string a = R"([{"role":"user","content":"hello"},{"role":"assistant","content":"the cat"}])";
  const std::string b = R"([{"role":"user","content":"hello"},{"role":"assistant","content":"the mat, the mat"}])";
  auto scores = [&](const std::string& input) {
    const Answer got = call("POST", "/v1/score", cat(R"({"model":"tiny","input":)", input, "}"));
    EXPECT_EQ(got.status, 200u) << got.body;
    std::vector<float> out;
    const Json body = Json::parse(got.body);
    for (const Json& item : body.at("data").as_array()) out.push_back(static_cast<float>(item.at("score").as_double()));
    return out;
  };
  std::vector<float> want;  // the value head on the training forward's last token
  Weights same = make_weights(language->weights.config, Head::kValue, DType::kF32);
  init_weights(same, 3);
  for (const char* answer : {"the cat", "the mat, the mat"}) {
    std::vector<int32_t> ids =
        encode_chat(language->tokenizer, {{"user", "hello", ""}, {"assistant", answer, ""}}, false);
    ids.push_back(language->tokenizer.special("<|reward|>"));
    Arena act("activations", 1 << 28), scratch("scratch", 1 << 28);
    Ctx ctx{Device::kCpu, &scratch};
    Batch batch;
    batch.add(ids.data(), static_cast<int64_t>(ids.size()));
    const Tensor table = make_rope_table(act, same.config, same.config.max_position);
    const Tensor h = model_forward(ctx, act, same, ids.data(), batch.tokens(), batch.sequences(table), nullptr);
    std::vector<float> values(ids.size());
    linear(ctx, make_view(values.data(), batch.tokens(), 1), h, same.output());
    want.push_back(values.back());
  }
  EXPECT_EQ(scores(a), std::vector<float>{want[0]});
  EXPECT_EQ(scores(cat("[", a, ",", b, "]")), want);
  EXPECT_NE(want[0], want[1]);
  for (const char* input : {"[]", "7", "[[]]", R"([{"role":"king","content":"x"}])", R"([[{"role":"user"}]])"})
    EXPECT_EQ(call("POST", "/v1/score", cat(R"({"model":"tiny","input":)", input, "}")).status, 400u) << input;
  EXPECT_EQ(call("POST", "/v1/score", cat(R"({"model":"tiny","more":1,"input":)", a, "}")).status, 400u);
  const Answer answer = call("POST", "/v1/chat/completions", chat("hello", 5, false));
  EXPECT_EQ(answer.status, 400u);
  EXPECT_NE(answer.body.find("reward model"), std::string::npos) << answer.body;
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"tiny","input":"a"})").status, 200u);
  EXPECT_TRUE(becomes_idle());
}

}  // namespace
}  // namespace puyu
