// The watchdog, the heartbeat and the webhook, each against the real thing: a process, a file, a socket.
#include "train/watch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temp_dir_test_util.h"
#include "train/webhook.h"

namespace puyu {
namespace {

// A server for one request: answers `answer`, gives what came.
class OneRequest {
 public:
  explicit OneRequest(std::string answer) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET, a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(fd_, 4) != 0) std::abort();
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size);
    port = ntohs(a.sin_port);
    thread_ = std::thread([this, answer] {
      const int c = ::accept(fd_, nullptr, nullptr);
      char buf[4096];
      for (;;) {
        const ssize_t n = ::recv(c, buf, sizeof buf, 0);
        if (n <= 0) break;
        request.append(buf, static_cast<size_t>(n));
        const size_t body = request.find("\r\n\r\n"), length = request.find("Content-Length: ");
        if (body != std::string::npos && request.size() >= body + 4 + std::stoul(request.substr(length + 16))) break;
      }
      ::send(c, answer.data(), answer.size(), 0);
      ::close(c);
    });
  }
  ~OneRequest() {
    join();
    ::close(fd_);
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  std::string url() const { return cat("http://127.0.0.1:", port, "/hook?x=1"); }
  std::string request;
  int port = 0;

 private:
  int fd_;
  std::thread thread_;
};

TEST(Webhook, PostsTheAlertAsJson) {
  OneRequest server("HTTP/1.1 204 No Content\r\n\r\n");
  Json alert = Json::object();
  alert["kind"] = "loss_spike", alert["text"] = "损失 \"7\"";
  {
    Webhook hook(server.url());
    hook.send(alert);
  }
  server.join();
  EXPECT_TRUE(server.request.starts_with("POST /hook?x=1 HTTP/1.1\r\n")) << server.request;
  EXPECT_NE(server.request.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_EQ(Json::parse(server.request.substr(server.request.find("\r\n\r\n") + 4)), alert);
}

TEST(Webhook, AFailureIsSaidAndCostsNothingElse) {
  OneRequest server("HTTP/1.1 503 Busy\r\n\r\n");
  const HttpUrl url = parse_http_url(server.url());
  try {
    http_post(url, "{}", 5);
    FAIL();
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("503 Busy"), std::string::npos) << e.what(); }
  ::testing::internal::CaptureStderr();
  {
    Webhook hook("http://127.0.0.1:9/");  // nobody listens on the discard port
    hook.send(Json::object());
  }
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("[webhook] 127.0.0.1:9"), std::string::npos);
}

TEST(Webhook, UrlsThatCannotBe) {
  const HttpUrl u = parse_http_url("http://[::1]:81");
  EXPECT_EQ(u.host + "|" + u.port + "|" + u.path, "::1|81|/");
  EXPECT_EQ(parse_http_url("http://relay.local/a/b").port, "80");
  for (const char* bad : {"https://x/", "x", "http://", "http://h:0/", "http://h:x/", "http://h:99999/", "http://a b/"})
    EXPECT_THROW(parse_http_url(bad), Error) << bad;
}

TEST(Watch, WritesAHeartbeat) {
  test::TempDir folder;
  {
    Watch watch({}, folder.path, 0);
    watch.done(17);
    watch.enter(Watch::Part::kRound, 18);
  }
  const Json j = Json::parse(read_file(folder.path + "/heartbeat.json"));
  EXPECT_EQ(j.at("step").as_int(), 17);
  EXPECT_EQ(j.at("part").as_string(), "round");
  EXPECT_EQ(j.at("pid").as_int(), ::getpid());
  EXPECT_FALSE(file_exists(folder.path + "/heartbeat.json.tmp"));
}

TEST(WatchDeathTest, ARankThatStaysInAPartEndsWithItsName) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  WatchOptions o;
  o.optimizer = 0.3;
  auto hang = [&] {
    Watch watch(o, "", 5, [](const std::string& what) { std::fprintf(stderr, "told: %s\n", what.c_str()); });
    watch.enter(Watch::Part::kRound, 1);
    watch.enter(Watch::Part::kOptimizer, 12);
    ::sleep(30);
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(1), "rank 5 on .*optimizer of step 12 has taken more than 0.3 s");
}

TEST(Watch, PartsThatEndInTimeAreLeftAlone) {
  WatchOptions o;
  o.data = o.round = 0.5;
  Watch watch(o, "", 0);
  for (int i = 0; i < 6; ++i) {  // 1.2 s in all, each part less than its limit
    watch.enter(i % 2 ? Watch::Part::kData : Watch::Part::kRound, i);
    ::usleep(200000);
  }
  watch.leave();
  ::usleep(700000);
}

}  // namespace
}  // namespace puyu
