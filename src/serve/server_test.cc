// The whole server over HTTP: chats, streams, limits, what clients do to it.
#include "serve/server_testing.h"

#include <map>
#include <sstream>

namespace puyu {
namespace {

TEST_F(ServeTest, CountsWhatHappens) {
  start();
  auto page = [&] {
    std::map<std::string, double> out;
    const Answer a = call("GET", "/metrics");
    EXPECT_EQ(a.status, 200u);
    std::istringstream lines(a.body);
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with("#")) out[line.substr(0, line.rfind(' '))] = std::stod(line.substr(line.rfind(' ')));
    return out;
  };
  auto before = page();
  EXPECT_EQ(before.at("puyu_answer_tokens_total"), 0);
  call("POST", "/v1/chat/completions", chat("hello", 7, false, R"(,"n":2)"));
  call("POST", "/v1/chat/completions", chat("hello", 5, true));
  EXPECT_EQ(call("POST", "/v1/chat/completions", "{}").status, 400u);
  EXPECT_EQ(call("GET", "/nowhere").status, 404u);
  auto after = page();
  const double ended =
      after.at("puyu_answers_total{reason=\"length\"}") + after.at("puyu_answers_total{reason=\"stop\"}");
  EXPECT_EQ(ended, 3);
  EXPECT_LE(after.at("puyu_answer_tokens_total"), 19);
  EXPECT_GT(after.at("puyu_answer_tokens_total"), 3);
  EXPECT_EQ(after.at("puyu_refused_total{status=\"400\"}"), 1);
  EXPECT_EQ(after.at("puyu_refused_total{status=\"404\"}"), 1);
  EXPECT_EQ(after.at("puyu_requests_pending"), 0);
  EXPECT_EQ(after.at("puyu_sequences_running"), 0);
  EXPECT_EQ(after.at("puyu_kv_tokens_used"), 0);
  EXPECT_GT(after.at("puyu_prefix_cache_hits_total"), 0);
  for (const std::string name : {"puyu_queue_seconds", "puyu_time_to_first_token_seconds", "puyu_answer_seconds"}) {
    EXPECT_EQ(after.at(name + "_count"), 3);
    EXPECT_EQ(after.at(name + "_bucket{le=\"+Inf\"}"), 3);
    EXPECT_LE(after.at(name + "_bucket{le=\"0.001\"}"), after.at(name + "_bucket{le=\"600\"}"));
    EXPECT_GT(after.at(name + "_sum"), 0);
  }
}

TEST_F(ServeTest, StreamedTextIsWholeTextIsEngineText) {
  start();
  const std::string want = engine_text("hello", 50);
  EXPECT_EQ(content(call("POST", "/v1/chat/completions", chat("hello", 50, false))), want);
  Json last;
  const std::string more = R"(,"stream_options":{"include_usage":true})";
  EXPECT_EQ(streamed(call("POST", "/v1/chat/completions", chat("hello", 50, true, more)), &last), want);
  const Json whole = Json::parse(call("POST", "/v1/chat/completions", chat("hello", 50, false)).body);
  EXPECT_EQ(last.at("usage"), whole.at("usage"));
}

// Ids of the model's padding have no text, in prompts either; end ids that do not end an answer are tokens like others.
TEST_F(ServeTest, OddIdsHaveLogProbsToo) {
  start();
  const int pieces = tiny_tokenizer().vocab_size(), end = tiny_tokenizer().eos();
  auto completion = [&](const std::string& fields) {
    const Answer a = call("POST", "/v1/completions", cat(R"({"model":"tiny","temperature":0,)", fields, "}"));
    EXPECT_EQ(a.status, 200u) << a.body;
    return Json::parse(a.body);
  };
  const Json echoed = completion(cat(R"("echo":true,"logprobs":1,"max_tokens":0,"prompt":[1,)", pieces + 1, ",",
                                     pieces - 9, ",", pieces + 2, "]"));
  const Json& choice = echoed.at("choices").as_array()[0];
  EXPECT_EQ(choice.at("logprobs").at("token_logprobs").size(), 4u);
  const std::vector<int32_t> known{1, pieces - 9};
  EXPECT_EQ(choice.at("text").as_string(), tiny_tokenizer().decode(known));
  const Json ends = completion(
      cat(R"("prompt":"hello","logprobs":0,"max_tokens":5,"ignore_eos":true,"logit_bias":{")", end, R"(":100})"));
  EXPECT_EQ(ends.at("choices").as_array()[0].at("logprobs").at("tokens").size(), 5u);
  EXPECT_EQ(ends.at("usage").at("completion_tokens").as_int(), 5);
}

// Whatever is asked for, the server's answer is the engine's, whole and as a stream.
TEST_F(ServeTest, RandomRequestsAreTheEnginesAnswers) {
  start();
  const auto own = tiny_model();
  LocalGenerator generator(own);
  Rng rng(17);
  const std::vector<std::string> texts = {"hello", "the cat sat", "大模型", "🐉", "mat, mat, mat", "a\\nb"};
  for (int i = 0; i < 24; ++i) {
    SamplingOptions o;
    o.temperature = rng.below(3) ? 1.2 : 0, o.top_p = rng.below(2) ? 1 : 0.7, o.top_k = rng.below(2) ? 0 : 9;
    o.presence_penalty = rng.below(2) ? 0.5 : 0, o.repetition_penalty = rng.below(2) ? 1 : 1.3;
    o.seed = static_cast<int64_t>(rng.below(1000)), o.max_tokens = 1 + static_cast<int>(rng.below(40));
    if (rng.below(2)) o.stop = {"a", "ba"};
    const std::string& text = texts[rng.below(texts.size())];
    std::string more = cat(R"(,"top_k":)", o.top_k, R"(,"presence_penalty":)", o.presence_penalty,
                           R"(,"repetition_penalty":)", o.repetition_penalty, R"(,"seed":)", o.seed);
    if (!o.stop.empty()) more += R"(,"stop":["a","ba"])";
    auto body = [&](bool stream) {
      return cat(R"({"model":"tiny","messages":[{"role":"user","content":")", text, R"("}],"temperature":)",
                 o.temperature, R"(,"top_p":)", o.top_p, R"(,"max_tokens":)", o.max_tokens, R"(,"stream":)",
                 stream ? "true" : "false", more, "}");
    };
    const std::string said = Json::parse(cat("\"", text, "\"")).as_string();
    const Generation want = generator.generate({{"", {{"user", said, ""}}}}, o)[0];
    const Answer whole = call("POST", "/v1/chat/completions", body(false));
    EXPECT_EQ(content(whole), want.text) << i;
    const Json answer = Json::parse(whole.body);
    EXPECT_EQ(answer.at("choices").as_array()[0].at("finish_reason").as_string(), finish_reason_name(want.reason)) << i;
    EXPECT_EQ(answer.at("usage").at("completion_tokens").as_int(), want.tokens) << i;
    EXPECT_EQ(streamed(call("POST", "/v1/chat/completions", body(true))), want.text) << i;
  }
}

TEST_F(ServeTest, EndpointsAndErrors) {
  start();
  EXPECT_EQ(call("GET", "/health").status, 200u);
  const Json models = Json::parse(call("GET", "/v1/models").body);
  EXPECT_EQ(models.at("data").as_array()[0].at("id"), Json("tiny"));
  EXPECT_EQ(call("GET", "/v1/models/tiny").status, 200u);
  EXPECT_EQ(call("GET", "/v1/models/other").status, 404u);
  EXPECT_EQ(call("GET", "/nothing").status, 404u);
  EXPECT_EQ(call("GET", "/v1/completions").status, 405u);
  EXPECT_EQ(call("POST", "/v1/completions", "{").status, 400u);
  EXPECT_EQ(call("POST", "/v1/completions", R"({"model":"x","prompt":"a"})").status, 404u);
  const Answer text = call("POST", "/v1/completions", R"({"model":"tiny","prompt":"hello","max_tokens":4})");
  EXPECT_EQ(Json::parse(text.body).at("object"), Json("text_completion"));
  std::string words;
  for (int i = 0; i < 400; ++i) words += "hello world ";
  const Answer longer = call("POST", "/v1/chat/completions", chat(words, 5, false));  // more than max_position
  EXPECT_EQ(longer.status, 400u);
  EXPECT_EQ(Json::parse(longer.body).at("error").at("param"), Json("messages"));
  EXPECT_TRUE(becomes_idle());
  const Json ids = Json::parse(call("POST", "/tokenize", R"({"prompt":"hello 你好","add_special_tokens":false})").body);
  const std::string back = call("POST", "/detokenize", cat(R"({"tokens":)", ids.at("tokens").dump(), "}")).body;
  EXPECT_EQ(Json::parse(back).at("prompt"), Json("hello 你好"));
  EXPECT_EQ(ids.at("count").as_int(), static_cast<int64_t>(ids.at("tokens").size()));
  for (const char* body : {"{", "[]", "{}", R"({"tokens":"x"})", R"({"tokens":[1.5]})", R"({"tokens":[-1]})",
                           R"({"tokens":[99999999]})", R"({"tokens":[],"more":1})"})
    EXPECT_EQ(call("POST", "/detokenize", body).status, 400u) << body;
  for (const char* body : {"{}", R"({"prompt":1})", R"({"prompt":"a","more":1})"})
    EXPECT_EQ(call("POST", "/tokenize", body).status, 400u) << body;
}

TEST_F(ServeTest, LimitsAreAnswered) {
  ServeOptions o;
  o.max_body_bytes = 1000, o.max_queue = 0;
  start(o);
  EXPECT_EQ(call("POST", "/v1/completions", std::string(2000, 'x')).status, 413u);
  // In the form of the API that was asked, and counted.
  const Json theirs = Json::parse(call("POST", "/v1/messages", std::string(2000, 'x')).body);
  EXPECT_EQ(theirs.at("type"), Json("error"));
  EXPECT_EQ(theirs.at("error").at("type"), Json("request_too_large"));
  EXPECT_NE(call("GET", "/metrics").body.find("puyu_refused_total{status=\"413\"} 2\n"), std::string::npos);
  EXPECT_EQ(call("POST", "/v1/completions", R"({"model":"tiny","prompt":"a"})").status, 429u);
  tcp::socket s = connect();
  asio::write(s, asio::buffer(std::string("not http at all\r\n\r\n")));
  std::string reply;
  boost::system::error_code ec;
  asio::read(s, asio::dynamic_buffer(reply), ec);
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 400")) << reply;
}

TEST_F(ServeTest, EightClientsAtOnceGetTheirOwnAnswers) {
  start();
  std::vector<std::string> got(8), want;
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) want.push_back(engine_text(cat("word ", i), 30));
  for (int i = 0; i < 8; ++i)
    clients.emplace_back([&, i] {
      const Answer a = call("POST", "/v1/chat/completions", chat(cat("word ", i), 30, i % 2 == 1));
      got[static_cast<size_t>(i)] = i % 2 ? streamed(a) : content(a);
    });
  for (auto& c : clients) c.join();
  EXPECT_EQ(got, want);
}

TEST_F(ServeTest, AClientThatLeavesFreesItsPages) {
  start();
  {
    tcp::socket s = connect();
    const std::string body = chat("hello", 200, true);
    asio::write(s, asio::buffer(cat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(),
                                    "\r\n\r\n", body)));
    char first[64];
    s.read_some(asio::buffer(first));
  }
  EXPECT_TRUE(becomes_idle());
  EXPECT_EQ(call("GET", "/health").status, 200u);
  TearDown();
  server.reset();  // joins the engine's thread, so its state may be read
  EXPECT_EQ(model->engine.active(), 0);
  EXPECT_EQ(model->engine.scheduler().free_pages(), 32);
}

TEST_F(ServeTest, ASlowReaderBlocksNobody) {
  start();
  tcp::socket slow = connect();
  const std::string body = chat("slow", 150, true);
  asio::write(slow, asio::buffer(cat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
                                     "Content-Length: ", body.size(), "\r\n\r\n", body)));
  EXPECT_EQ(content(call("POST", "/v1/chat/completions", chat("hello", 20, false))), engine_text("hello", 20));
  std::string all;
  boost::system::error_code ec;
  asio::read(slow, asio::dynamic_buffer(all), ec);  // and it gets its own answer in the end
  EXPECT_NE(all.find("data: [DONE]"), std::string::npos);
}

TEST_F(ServeTest, Of256OpenStreamsNoneIsLost) {
  ServeOptions o;
  o.timeout_seconds = 120;
  start(o, {16, 64, 0});
  // Everybody asks before anybody reads; every fourth leaves, every fourth reads in sips.
  std::vector<tcp::socket> clients;
  for (int i = 0; i < 256; ++i) {
    clients.push_back(connect());
    const std::string body = chat(cat("word ", i % 8), 12, true);
    asio::write(clients.back(),
                asio::buffer(cat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
                                 "Content-Length: ", body.size(), "\r\n\r\n", body)));
  }
  std::vector<std::string> bodies(8);
  for (size_t i = 0; i < clients.size(); ++i) {
    if (i % 4 == 3) {
      clients[i].close();
      continue;
    }
    std::string all;
    boost::system::error_code ec;
    char sip[7];
    if (i % 4 == 1)
      for (size_t n; !ec && (n = clients[i].read_some(asio::buffer(sip), ec)) > 0;) all.append(sip, n);
    else
      asio::read(clients[i], asio::dynamic_buffer(all), ec);
    EXPECT_NE(all.find("data: [DONE]"), std::string::npos) << i;
    std::string text;
    for (size_t at = 0; (at = all.find("data: {", at)) != std::string::npos; ++at) {
      const std::string json = all.substr(at + 6, all.find("\n\n", at) - at - 6);
      const Json event = Json::parse(json);  // named: a temporary would be gone in the loop
      for (const Json& c : event.at("choices").as_array()) text += c.at("delta").get("content", std::string());
    }
    std::string& first = bodies[i % 8];  // the same question, the same answer
    if (first.empty()) first = text;
    EXPECT_EQ(text, first) << i;
  }
  EXPECT_TRUE(becomes_idle());
}

TEST_F(ServeTest, StoppingLetsAnswersFinish) {
  start();
  Answer a;
  std::thread client([&] { a = call("POST", "/v1/chat/completions", chat("hello", 100, true)); });
  while (server->pending() == 0) std::this_thread::yield();
  server->stop();
  client.join();
  streamed(a);
}

TEST_F(ServeTest, TheQueueCountsChoices) {
  ServeOptions o;
  o.max_queue = 4;
  start(o);
  EXPECT_EQ(call("POST", "/v1/chat/completions", chat("hello", 3, false, R"(,"n":4)")).status, 200u);
  const Answer never = call("POST", "/v1/chat/completions", chat("hello", 3, false, R"(,"n":5)"));
  EXPECT_EQ(never.status, 400u);
  EXPECT_EQ(Json::parse(never.body).at("error").at("param"), Json("n"));
  tcp::socket s = connect();
  const std::string body = chat("hello", 200, true, R"(,"n":3)");
  asio::write(s, asio::buffer(cat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
                                  "Content-Length: ", body.size(), "\r\n\r\n", body)));
  while (server->pending() < 3) std::this_thread::yield();
  EXPECT_EQ(call("POST", "/v1/chat/completions", chat("hello", 3, false, R"(,"n":2)")).status, 429u);
  s.close();
  EXPECT_TRUE(becomes_idle());
}

TEST_F(ServeTest, GuidedAnswersFollowTheirGrammar) {
  start();
  auto ask = [&](const std::string& more, bool stream = false) {
    return call("POST", "/v1/chat/completions", chat("hello", 200, stream, more));
  };
  const std::string schema = R"({"type":"object","properties":{"colour":{"enum":["red","blue"]},)"
                             R"("n":{"type":"integer","minimum":3,"maximum":12},"ok":{"type":"boolean"}},)"
                             R"("required":["colour","n","ok"]})";
  const std::string format =
      cat(R"(,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":)", schema, "}}");
  for (int i = 0; i < 3; ++i) {
    const Json j = Json::parse(content(ask(format + cat(R"(,"min_p":0.)", i))));
    EXPECT_TRUE(j.at("ok").is_bool());
    EXPECT_GE(j.at("n").as_int(), 3);
  }
  EXPECT_EQ(streamed(ask(format, true)), content(ask(format)));
  EXPECT_EQ(content(ask(R"(,"guided_choice":["你好"])")), "你好");
  EXPECT_EQ(content(ask(R"(,"guided_regex":"(ab){2}")")), "abab");
  EXPECT_EQ(content(ask(R"(,"guided_grammar":"root ::= \"x\" \"y\"")")), "xy");
  EXPECT_EQ(Json::parse(content(ask(R"(,"guided_json":{"const":[1,null]})"))).size(), 2u);
  const Answer refused = ask(R"(,"guided_json":{"type":"number","multipleOf":2})");
  EXPECT_EQ(refused.status, 400u);
  EXPECT_NE(refused.body.find("#/multipleOf"), std::string::npos) << refused.body;
  EXPECT_EQ(Json::parse(refused.body).at("error").at("param"), Json("guided_json"));
  EXPECT_EQ(server->pending(), 0);
}

}  // namespace
}  // namespace puyu
