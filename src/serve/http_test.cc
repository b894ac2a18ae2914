// The transport alone, with a handler that answers when the test says so.
#include <utility>

#include "serve/http.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <new>
#include <thread>

#include "base/error.h"

namespace puyu {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class HttpTest : public ::testing::Test {
 protected:
  void start(HttpOptions o) {
    o.port = 0, o.timeout_seconds = o.timeout_seconds == 60 ? 30 : o.timeout_seconds;
    server = std::make_unique<HttpServer>(o, [this](const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
      if (r.path == "/throw") throw std::bad_alloc();
      std::lock_guard lock(mutex);
      held.push_back(x), requests.push_back(r);
      came.notify_all();
    });
    thread = std::thread([this] { server->run(); });
  }
  void TearDown() override {
    server->stop();
    if (thread.joinable()) thread.join();
  }
  std::shared_ptr<Exchange> next() {  // the next request that the handler was given
    std::unique_lock lock(mutex);
    came.wait(lock, [this] { return !held.empty(); });
    auto x = held.front();
    held.pop_front();
    return x;
  }
  tcp::socket connect() {
    tcp::socket s(io);
    s.connect({asio::ip::make_address("127.0.0.1"), static_cast<uint16_t>(server->port())});
    return s;
  }
  static void say(tcp::socket& s, const std::string& bytes) { asio::write(s, asio::buffer(bytes)); }
  static void ask(tcp::socket& s) { say(s, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"); }
  static std::string until(tcp::socket& s, const std::string& end) {
    std::string out;
    asio::read_until(s, asio::dynamic_buffer(out), end);
    return out;
  }
  // A whole round, after which the connection rests.
  void ask_and_answer(tcp::socket& s, const std::string& body) {
    ask(s);
    next()->reply({200, body, "text/plain", {}});
    EXPECT_TRUE(until(s, body).starts_with("HTTP/1.1 200"));
  }
  static void pause(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }
  static std::string rest(tcp::socket& s) {  // to the end of the connection
    std::string out;
    boost::system::error_code ec;
    asio::read(s, asio::dynamic_buffer(out), ec);
    EXPECT_EQ(ec, asio::error::eof) << ec.message();
    return out;
  }

  asio::io_context io;
  std::unique_ptr<HttpServer> server;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable came;
  std::deque<std::shared_ptr<Exchange>> held;
  std::vector<HttpRequest> requests;
};

TEST_F(HttpTest, AStreamHasItsHeadersBeforeItsFirstEvent) {
  start({});
  tcp::socket s = connect();
  ask(s);
  const auto x = next();
  x->open();
  std::string head;
  asio::read_until(s, asio::dynamic_buffer(head), "\r\n\r\n");  // comes though no event was sent
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200")) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  EXPECT_NE(head.find("Keep-Alive: timeout=28\r\n"), std::string::npos) << head;  // of 30
  x->event("one"), x->end();
  std::string body;
  asio::read_until(s, asio::dynamic_buffer(body), "0\r\n\r\n");
  EXPECT_EQ(body, "b\r\ndata: one\n\n\r\n0\r\n\r\n");
}

TEST_F(HttpTest, WhileItStopsRunningAnswersEndAndOthersAreTold) {
  start({});
  tcp::socket running = connect(), idle = connect();
  ask(running);
  const auto x = next();
  x->event("one");
  std::string first;
  asio::read_until(running, asio::dynamic_buffer(first), "one");
  server->stop();
  ask(idle);  // posted after stop(), so it is read after it
  EXPECT_TRUE(rest(idle).starts_with("HTTP/1.1 503"));
  tcp::socket later = connect();
  ask(later);
  const std::string told = rest(later);
  EXPECT_TRUE(told.starts_with("HTTP/1.1 503")) << told;
  EXPECT_NE(told.find("Retry-After:"), std::string::npos);
  x->event("two"), x->end();
  EXPECT_NE(rest(running).find("data: two"), std::string::npos);
  thread.join();  // run() has returned
}

TEST_F(HttpTest, TheGraceTimeEnds) {
  HttpOptions o;
  o.grace_seconds = 0.05;
  start(o);
  tcp::socket s = connect();
  ask(s);
  const auto x = next();
  bool gone = false;
  x->on_disconnect = [&] { gone = true; };  // nothing else runs on the transport's thread that could read it
  server->stop();
  thread.join();
  EXPECT_TRUE(gone);
  x->reply({});  // too late, and harmless
}

TEST_F(HttpTest, TooLongABodyIsAnsweredThoughItIsStillBeingSent) {
  HttpOptions o;
  o.max_body_bytes = 1000;
  start(o);
  tcp::socket s = connect();
  const std::string head = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n";
  boost::system::error_code ec;
  asio::write(s, asio::buffer(head + std::string(20000000, 'x')), ec);
  EXPECT_FALSE(ec) << ec.message();
  s.shutdown(tcp::socket::shutdown_send);
  EXPECT_TRUE(rest(s).starts_with("HTTP/1.1 413"));
}

TEST_F(HttpTest, TooManyConnectionsAreTold) {
  HttpOptions o;
  o.max_connections = 2;
  start(o);
  tcp::socket a = connect(), b = connect();
  ask(a), ask(b);  // both are known to the server when the handler has them
  const auto xa = next(), xb = next();
  tcp::socket c = connect();
  ask(c);
  c.shutdown(tcp::socket::shutdown_send);
  EXPECT_TRUE(rest(c).starts_with("HTTP/1.1 503"));
  xa->reply({200, "a", "text/plain", {}});
  std::string got;
  asio::read_until(a, asio::dynamic_buffer(got), "\r\n\r\na");
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200"));
  xb->reply({});
}

TEST_F(HttpTest, AnAnswerMayBeLongerThanWhatASlowReaderMayLeaveUnread) {
  start({});
  tcp::socket s = connect();
  ask(s);
  next()->reply({200, std::string(40 << 20, 'y'), "text/plain", {{"X-Test", "1"}}});
  std::string got;
  asio::read_until(s, asio::dynamic_buffer(got), "\r\n\r\n");
  const size_t head = got.find("\r\n\r\n") + 4;
  asio::read(s, asio::dynamic_buffer(got), asio::transfer_exactly((40u << 20) + head - got.size()));
  EXPECT_EQ(got.size(), (40u << 20) + head);
}

// The server's time for a request is over many times, yet the next one is answered: closing in between would lose the
// request of a client that asks at that moment.
TEST_F(HttpTest, AConnectionRestsAsLongAsItLikes) {
  HttpOptions o;
  o.timeout_seconds = 0.05;
  start(o);
  tcp::socket fresh = connect(), used = connect();
  ask_and_answer(used, "one");
  pause(0.5);
  ask_and_answer(used, "two");
  ask_and_answer(fresh, "three");
}

TEST_F(HttpTest, WhoRestedLongestGivesItsPlaceToANewConnection) {
  HttpOptions o;
  o.max_connections = 2, o.timeout_seconds = 0.05;
  start(o);
  tcp::socket longest = connect(), second = connect();
  ask_and_answer(longest, "one");
  ask_and_answer(second, "two");
  pause(0.5);
  tcp::socket fresh = connect();
  ask_and_answer(fresh, "three");
  EXPECT_EQ(rest(longest), "");
  ask_and_answer(second, "four");
}

TEST_F(HttpTest, NobodyLosesAPlaceThatItWasPromised) {
  HttpOptions o;
  o.max_connections = 1;
  start(o);
  tcp::socket promised = connect(), late = connect();
  ask_and_answer(promised, "one");  // Keep-Alive: timeout=28
  EXPECT_TRUE(until(late, "\r\n\r\n").starts_with("HTTP/1.1 503"));
  ask_and_answer(promised, "two");
}

TEST_F(HttpTest, ARequestThatIsNeverWholeIsAnswered) {
  HttpOptions o;
  o.timeout_seconds = 0.2;
  start(o);
  tcp::socket head = connect(), body = connect();
  say(head, "GET /x HTT");
  say(body, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
  EXPECT_TRUE(until(head, "\r\n\r\n").starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(until(body, "\r\n\r\n").starts_with("HTTP/1.1 408"));
}

TEST_F(HttpTest, WhoAsksBeforeItSendsABodyIsTold) {
  HttpOptions o;
  o.max_body_bytes = 1000;
  start(o);
  const std::string head = "POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ";
  tcp::socket s = connect();
  for (int round = 0; round < 2; ++round) {
    say(s, head + "5\r\n\r\n");
    EXPECT_EQ(until(s, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    say(s, "hello");
    next()->reply({200, "done", "text/plain", {}});
    EXPECT_TRUE(until(s, "done").starts_with("HTTP/1.1 200"));
    EXPECT_EQ(requests.back().body, "hello");
  }
  say(s, head + "1001\r\n\r\n");
  EXPECT_TRUE(until(s, "\r\n\r\n").starts_with("HTTP/1.1 413"));
}

TEST_F(HttpTest, HeadIsGetWithoutTheBody) {
  start({});
  tcp::socket s = connect();
  say(s, "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n");
  next()->reply({200, "12345", "text/plain", {}});
  const std::string head = until(s, "\r\n\r\n");
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  EXPECT_NE(head.find("Content-Length: 5\r\n"), std::string::npos) << head;
  EXPECT_EQ(requests.back().method, "GET");
  ask_and_answer(s, "next");  // a body that nobody waits for would stand before it
}

TEST_F(HttpTest, RequestsSentAheadAreAnsweredInTheirOrder) {
  start({});
  tcp::socket s = connect();
  const std::string get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", post = "POST /y HTTP/1.1\r\nContent-Length: 1\r\n\r\n";
  say(s, get + post + "z" + get.substr(0, 9));
  auto x = next();
  say(s, get.substr(9));
  for (const std::string body : {"first", "second", "third"}) {
    x->reply({200, body, "text/plain", {}});
    EXPECT_TRUE(until(s, body).starts_with("HTTP/1.1 200"));
    if (body != "third") x = next();
  }
  EXPECT_EQ(requests[1].body, "z");
  EXPECT_EQ(requests.size(), 3u);
}

TEST_F(HttpTest, AClientThatLeavesIsNoticedBehindWhatItSentAhead) {
  start({});
  tcp::socket s = connect();
  ask(s);
  const auto x = next();
  std::promise<void> gone;
  x->on_disconnect = [&] { gone.set_value(); };
  ask(s);
  s.close();
  gone.get_future().wait();
}

TEST_F(HttpTest, TheLastAnswerIsReadThoughMoreWasSent) {
  start({});
  for (int round = 0; round < 20; ++round) {
    tcp::socket s = connect();
    say(s, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + std::string(100000, 'x'));
    next()->reply({200, std::string(1 << 20, 'y'), "text/plain", {}});
    EXPECT_GT(rest(s).size(), 1u << 20);  // and no reset
  }
}

TEST_F(HttpTest, WhoWantsTheConnectionClosedIsNotToldOtherwise) {
  start({});
  tcp::socket s = connect();
  say(s, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto x = next();
  x->event("one"), x->end();
  const std::string all = rest(s);
  EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos) << all;
  EXPECT_EQ(all.find("Keep-Alive"), std::string::npos) << all;
  EXPECT_TRUE(all.ends_with("0\r\n\r\n")) << all;
}

TEST_F(HttpTest, WhoHasEndedItsSideStillGetsWhatIsBeingSent) {
  start({});
  tcp::socket s = connect();
  ask(s);
  next()->reply({200, std::string(40 << 20, 'y'), "text/plain", {}});
  const std::string begun = until(s, "\r\n\r\n");
  s.shutdown(tcp::socket::shutdown_send);
  EXPECT_GT(begun.size() + rest(s).size(), 40u << 20);
}

TEST_F(HttpTest, SlowAReaderHasItsTimeForEachPieceAndNotForTheWhole) {
  HttpOptions o;
  o.timeout_seconds = 2;
  start(o);
  tcp::socket s = connect();
  ask(s);
  next()->reply({200, std::string(40 << 20, 'y'), "text/plain", {}});
  std::string piece(1 << 20, 0);
  for (int i = 0; i < 39; ++i, pause(0.08)) asio::read(s, asio::buffer(piece));  // over three seconds
  s.shutdown(tcp::socket::shutdown_send);
  EXPECT_GT(rest(s).size(), 1u << 20);
}

TEST_F(HttpTest, AHandlerThatFailsIsAnAnswerToo) {
  start({});
  tcp::socket s = connect();
  say(s, "GET /throw HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(until(s, "\r\n\r\n").starts_with("HTTP/1.1 500"));
}

}  // namespace
}  // namespace puyu
