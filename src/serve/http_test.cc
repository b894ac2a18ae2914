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
#include <mutex>
#include <thread>

#include "base/error.h"

namespace puyu {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class HttpTest : public ::testing::Test {
 protected:
  void start(HttpOptions o) {
    o.port = 0, o.timeout_seconds = 30;
    server = std::make_unique<HttpServer>(o, [this](const HttpRequest&, const std::shared_ptr<Exchange>& x) {
      std::lock_guard lock(mutex);
      held.push_back(x);
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
  static void ask(tcp::socket& s) { asio::write(s, asio::buffer(std::string("GET /x HTTP/1.1\r\nHost: x\r\n\r\n"))); }
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

}  // namespace
}  // namespace puyu
