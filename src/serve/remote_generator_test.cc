// A model behind our own server says the same as the same model in this process.
#include <utility>

#include "serve/remote_generator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "engine/tiny_model.h"
#include "serve/server.h"

namespace puyu {
namespace {

class RemoteTest : public ::testing::Test {
 protected:
  void start(ServeOptions o = {}) {
    o.port = 0, o.name = "tiny";
    model = tiny_model();
    server = std::make_unique<Server>(*model, o);
    thread = std::thread([this] { server->run(); });
  }
  void TearDown() override {
    if (!server) return;
    server->stop();
    thread.join();
  }
  std::string url() const { return cat("http://127.0.0.1:", server->port(), "/v1"); }

  std::shared_ptr<LocalModel> model;
  std::unique_ptr<Server> server;
  std::thread thread;
};

std::vector<Prompt> questions() {
  std::vector<Prompt> out;
  for (int i = 0; i < 12; ++i) out.push_back({cat("the cat sat on mat ", i, " 你好"), {}});
  for (int i = 0; i < 12; ++i) out.push_back({"", {{"system", "be brief", ""}, {"user", cat("hello ", i), ""}}});
  out.push_back({"", {{"user", "more", ""}, {"assistant", "a", ""}, {"user", "世界", ""}}});
  out.push_back({"", {{"user", "run", ""}, {"environment", "[1, 2]", "<|interpreter|>"}}});
  return out;
}

TEST_F(RemoteTest, GeneratesWhatTheEngineGenerates) {
  start();
  LocalGenerator local(tiny_model());
  RemoteGenerator remote(url(), {}, "");
  EXPECT_EQ(remote.name(), "tiny");
  for (double temperature : {0.0, 1.0}) {
    SamplingOptions o;
    o.temperature = temperature, o.top_p = 1, o.seed = 5, o.max_tokens = 24, o.stop = {"t"}, o.min_tokens = 3;
    o.repetition_penalty = 1.1, o.frequency_penalty = 0.2, o.bad_words = {"cat"}, o.logit_bias = {{300, 1.5}};
    std::vector<int> calls(questions().size());
    const auto want = local.generate(questions(), o);
    const auto got = remote.generate(questions(), o, [&](size_t i) { ++calls[i]; });
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].text, want[i].text) << i;
      EXPECT_EQ(got[i].tokens, want[i].tokens);
      EXPECT_EQ(got[i].prompt_tokens, want[i].prompt_tokens);
      EXPECT_EQ(got[i].reason, want[i].reason);
      EXPECT_EQ(got[i].stop_text, want[i].stop_text);
      EXPECT_EQ(calls[i], 1);
    }
  }
  SamplingOptions twice;
  twice.temperature = 1, twice.top_p = 1, twice.max_tokens = 24;
  const auto pair = remote.generate({questions()[0], questions()[0]}, twice);
  EXPECT_NE(pair[0].text, pair[1].text);
  twice.top_logprobs = 1;
  EXPECT_THROW(remote.generate(questions(), twice), Error);
}

TEST_F(RemoteTest, ScoresWhatTheEngineScores) {
  start();
  LocalGenerator local(tiny_model());
  RemoteGenerator remote(url(), {}, "");
  std::vector<Generator::Pair> pairs = {{{"", {}}, "the cat"}, {{"the ca", {}}, "t sat"}, {{"the cat ", {}}, " sat"}};
  for (const Prompt& p : questions())
    for (const char* rest : {" on", "the mat 🐉", "x"}) pairs.push_back({p, rest});
  // What greedy decoding says is greedy.
  SamplingOptions greedy;
  greedy.temperature = 0, greedy.max_tokens = 1;
  for (const Prompt& p : questions())
    if (const std::string said = local.generate({p}, greedy)[0].text; !said.empty()) pairs.push_back({p, said});
  const auto want = local.loglikelihood(pairs);
  const auto got = remote.loglikelihood(pairs);
  ASSERT_EQ(got.size(), want.size());
  int64_t best = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].sum, want[i].sum) << i;
    EXPECT_EQ(got[i].tokens, want[i].tokens) << i;
    EXPECT_EQ(got[i].greedy, want[i].greedy) << i;
    best += want[i].greedy;
  }
  EXPECT_GT(best, 0);
  EXPECT_THROW(remote.loglikelihood({{{"a", {}}, ""}}), Error);
}

TEST_F(RemoteTest, ABusyServerIsAskedAgain) {
  ServeOptions o;
  o.max_queue = 1;  // with 16 requests at once most are refused at first
  start(o);
  RemoteOptions patient;
  patient.retries = 1000;
  SamplingOptions greedy;
  greedy.temperature = 0, greedy.max_tokens = 4;
  std::vector<Prompt> few = questions();
  few.resize(4);
  const auto got = RemoteGenerator(url(), patient, "").generate(few, greedy);
  const auto want = LocalGenerator(tiny_model()).generate(few, greedy);
  for (size_t i = 0; i < few.size(); ++i) EXPECT_EQ(got[i].text, want[i].text);
}

// Which tries the transport sees, and what is said when they are used up.
TEST(Remote, RetriesAreCountedAndErrorsSpeak) {
  std::atomic<int> posts{0}, status{503};
  HttpOptions options;
  options.port = 0;
  HttpServer server(options, [&](const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
    if (r.method == "GET") return x->reply({200, R"({"data":[{"id":"a"},{"id":"b"}]})", "application/json", {}});
    ++posts;
    x->reply({status, R"({"error":{"message":"so it is"}})", "application/json", {{"Retry-After", "0"}}});
  });
  std::thread thread([&] { server.run(); });
  const std::string url = cat("http://127.0.0.1:", server.port());
  RemoteOptions o;
  o.retries = 3, o.name = "b";
  auto failure = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& e) { return e.what(); }
    return "";
  };
  auto ask = [&] { return failure([&] { RemoteGenerator(url, o, "").generate({{"x", {}}}, {}); }); };
  const std::string post = cat("[remote] POST ", url, "/v1/completions: ");
  EXPECT_EQ(ask(), post + "503: so it is (sent 4 times)");
  EXPECT_EQ(posts, 4);
  posts = 0, status = 400;
  EXPECT_EQ(ask(), post + "400: so it is");
  EXPECT_EQ(posts, 1);
  status = 200;
  EXPECT_NE(ask().find("an answer that is none"), std::string::npos);
  o.name = "c";
  EXPECT_EQ(ask(), cat("[remote] ", url, "/v1 has no model 'c', only 'a', 'b'"));
  server.stop();
  thread.join();
  EXPECT_NE(ask().find("/models: connect: "), std::string::npos) << ask();
}

TEST_F(RemoteTest, KeysAreSent) {
  ServeOptions o;
  o.api_key = "right";
  start(o);
  EXPECT_THROW(RemoteGenerator(url(), {}, "wrong"), Error);
  EXPECT_EQ(RemoteGenerator(url(), {}, "right").generate({{"a", {}}}, {}).size(), 1u);
}

}  // namespace
}  // namespace puyu
