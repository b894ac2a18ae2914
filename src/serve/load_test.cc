// Load on a transport that answers by rule, so that every count is known.
#include <utility>

#include "serve/load.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "serve/http.h"

namespace puyu {
namespace {

class LoadTest : public ::testing::Test {
 protected:
  void start(HttpServer::Handler handler) {
    HttpOptions o;
    o.port = 0, o.grace_seconds = 1;
    server = std::make_unique<HttpServer>(o, std::move(handler));
    thread = std::thread([this] { server->run(); });
  }
  void TearDown() override {
    server->stop();
    thread.join();
  }
  LoadResult load(size_t n, const LoadOptions& o = {}, const std::function<bool()>& stop = {}) {
    std::vector<ClientRequest> requests;
    for (size_t i = 0; i < n; ++i) requests.push_back({"POST", "/", std::to_string(i), {}});
    return run_load(parse_url(cat("http://127.0.0.1:", server->port())), {}, requests, o, {}, stop);
  }
  static std::string piece(const std::string& text) {
    return cat(R"({"choices":[{"delta":{"content":")", text, "\"}}]}");
  }
  static std::string usage(int in, int out) {
    return cat(R"({"choices":[],"usage":{"prompt_tokens":)", in, R"(,"completion_tokens":)", out, "}}");
  }

  std::unique_ptr<HttpServer> server;
  std::thread thread;
};

TEST_F(LoadTest, EveryOutcomeIsToldWithItsReason) {
  start([](const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
    const int i = std::stoi(r.body);
    if (i == 0) return x->reply({429, R"({"error":{"message":"full"}})", "application/json", {}});
    x->event(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})");
    if (i != 5)
      for (const char* text : {"a", "", "b", "c"}) x->event(piece(text));
    if (i == 1) x->event(R"({"error":{"message":"memory"}})");
    if (i != 2) x->event(usage(10 + i, 3));
    if (i != 3 && i != 1) x->event("[DONE]");
    if (i == 4) x->event("{");
    x->end();
  });
  const LoadResult r = load(7);
  const std::vector<std::string> want = {
      "429: full", "the server broke off: memory", "the stream has no usage", "the stream ended without [DONE]", "", "",
      ""};
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(i == 4 || r.outcomes[i].error == want[i]) << i << r.outcomes[i].error;
  EXPECT_NE(r.outcomes[4].error.find("[json] event"), std::string::npos) << r.outcomes[4].error;
  const LoadOutcome& whole = r.outcomes[6];
  EXPECT_EQ(whole.input_tokens, 16);
  EXPECT_EQ(whole.output_tokens, 3);
  EXPECT_EQ(whole.itl.size(), 2u);  // three events with text
  EXPECT_GT(whole.ttft, 0);
  double sum = whole.ttft;
  for (double s : whole.itl) sum += s;
  EXPECT_LE(sum, whole.latency);
  EXPECT_EQ(r.outcomes[5].ttft, 0);  // an answer without text
  EXPECT_TRUE(r.outcomes[5].itl.empty());
}

TEST_F(LoadTest, NoMoreAtOnceThanAllowed) {
  std::atomic<int> now{0}, most{0};
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> held;
  start([&](const HttpRequest&, const std::shared_ptr<Exchange>& x) {
    most = std::max<int>(most, ++now);
    std::lock_guard lock(mutex);
    held.push_back(x);
    if (held.size() < 3) return;  // nobody is answered before three are here
    for (const auto& e : std::exchange(held, {})) {
      e->event(usage(1, 1)), e->event("[DONE]"), e->end();
      --now;
    }
  });
  LoadOptions o;
  o.max_concurrency = 3;
  const LoadResult r = load(30, o);
  EXPECT_EQ(r.most_at_once, 3);
  EXPECT_LE(most, 3);
  for (const LoadOutcome& x : r.outcomes) EXPECT_EQ(x.error, "");
}

TEST_F(LoadTest, ArrivalsAreOfTheSeedAndKeepTheirOrder) {
  start([](const HttpRequest&, const std::shared_ptr<Exchange>& x) {
    x->event(usage(1, 1)), x->event("[DONE]"), x->end();
  });
  LoadOptions o;
  o.request_rate = 400;
  const LoadResult r = load(200, o);
  // Arrivals are late at times, never early: the last is due after the sum of 199 gaps, of mean 1 / 400.
  EXPECT_GE(r.outcomes.back().start, 0.5 * 199 / 400);
  for (size_t i = 1; i < r.outcomes.size(); ++i) EXPECT_GE(r.outcomes[i].start, r.outcomes[i - 1].start);
}

TEST_F(LoadTest, AnInterruptEndsWhatIsInWorkAndWhatWaits) {
  std::atomic<int> asked{0};
  start([&](const HttpRequest&, const std::shared_ptr<Exchange>& x) {
    if (++asked == 1) x->event(usage(1, 1)), x->event("[DONE]"), x->end();  // the others wait for ever
  });
  LoadOptions o;
  o.max_concurrency = 1;
  const LoadResult r = load(5, o, [&] { return asked >= 2; });
  EXPECT_EQ(r.outcomes[0].error, "");
  for (size_t i = 1; i < 5; ++i) EXPECT_EQ(r.outcomes[i].error, "interrupted");
}

}  // namespace
}  // namespace puyu
