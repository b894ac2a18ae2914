// The client against the real transport, and against servers that break off.
#include <utility>

#include "serve/http_client.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "base/error.h"
#include "serve/http.h"

namespace puyu {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

Url local(int port) { return parse_url(cat("http://127.0.0.1:", port)); }

// Our own transport with a handler of the test's.
class Transport {
 public:
  explicit Transport(HttpServer::Handler handler) : server_(options(), std::move(handler)) {
    thread_ = std::thread([this] { server_.run(); });
  }
  ~Transport() {
    server_.stop();
    thread_.join();
  }
  Url url() const { return local(server_.port()); }

 private:
  static HttpOptions options() {
    HttpOptions o;
    o.port = 0, o.max_body_bytes = 1 << 20, o.grace_seconds = 1;
    return o;
  }
  HttpServer server_;
  std::thread thread_;
};

// Reads one request's head, says `answer`, and closes.
class BreaksOff {
 public:
  explicit BreaksOff(std::string answer) : acceptor_(io_, {asio::ip::make_address("127.0.0.1"), 0}) {
    thread_ = std::thread([this, answer = std::move(answer)] {
      tcp::socket s = acceptor_.accept();
      std::string head;
      asio::read_until(s, asio::dynamic_buffer(head), "\r\n\r\n");
      asio::write(s, asio::buffer(answer));
    });
  }
  ~BreaksOff() { thread_.join(); }
  Url url() const { return local(acceptor_.local_endpoint().port()); }

 private:
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::thread thread_;
};

TEST(HttpClient, ReadsAddresses) {
  const Url u = parse_url("http://[::1]:23333/v1/");
  EXPECT_EQ(u.host, "::1");
  EXPECT_EQ(u.port, 23333);
  EXPECT_EQ(u.path, "/v1");
  EXPECT_EQ(parse_url("http://example.org").port, 80);
  EXPECT_EQ(parse_url("http://example.org/a/b").path, "/a/b");
  for (const char* bad :
       {"", "example.org", "https://example.org", "http://", "http://x:", "http://x:0", "http://x:70000", "http://x:1y",
        "http://user@x:1", "http://x/?q=1", "http://:80/v1", "http://a b/"})
    EXPECT_THROW(parse_url(bad), Error) << bad;
}

TEST(HttpClient, ManyRequestsAtOnceGetTheirOwnAnswers) {
  Transport server([](const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
    x->reply({r.body.size() % 2 ? 429 : 200, r.method + r.path + r.body, "text/plain", {{"Retry-After", "7"}}});
  });
  HttpClient client(server.url());
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string body(static_cast<size_t>(i) * 1000 + i, 'x');
    client.send({"POST", "/p", body, {}}, [&answers, body](const ClientReply& r) {
      EXPECT_EQ(r.error, "");
      EXPECT_EQ(r.status, body.size() % 2 ? 429 : 200);
      EXPECT_EQ(r.body, "POST/p" + body);
      EXPECT_EQ(r.retry_after, 7);
      ++answers;
    });
  }
  client.run();
  EXPECT_EQ(answers, 100);
  EXPECT_EQ(client.call({"GET", "/health", "", {}}).body, "GET/health");  // it runs again
}

TEST(HttpClient, EventsComeOneByOneAndALongBodyIsRefusedInWords) {
  Transport server([](const HttpRequest&, const std::shared_ptr<Exchange>& x) {
    for (int i = 0; i < 1000; ++i) x->event(cat("event ", i));
    x->end();
  });
  HttpClient client(server.url());
  int next = 0;
  ClientReply reply;
  client.send(
      {"POST", "/", "", {}}, [&](ClientReply r) { reply = std::move(r); },
      [&](const std::string& data) { EXPECT_EQ(data, cat("event ", next++)); });
  client.run();
  EXPECT_EQ(next, 1000);
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(client.call({"POST", "/", std::string(3 << 20, 'x'), {}}).status, 413);
}

TEST(HttpClient, WhatBreaksIsSaid) {
  auto failure = [](const std::string& answer, int* events = nullptr) {
    BreaksOff server(answer);
    HttpClient client(server.url());
    ClientReply out;
    client.send(
        {"POST", "/", "{}", {}}, [&](ClientReply r) { out = std::move(r); },
        [&](const std::string&) { events && ++*events; });
    client.run();
    return what_went_wrong(out);
  };
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  int events = 0;
  EXPECT_EQ(failure(head + "9\r\ndata: 1\n\n\r\n", &events), "the connection broke in mid-stream");
  EXPECT_EQ(events, 1);
  EXPECT_NE(failure("").find("broke before the answer was whole"), std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").find("broke before"), std::string::npos);
  EXPECT_NE(failure("not http\r\n\r\n").find("receive: "), std::string::npos);
  EXPECT_EQ(failure("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy"), "503: busy");
  EXPECT_EQ(failure("HTTP/1.1 400 No\r\nContent-Length: 31\r\n\r\n{\"error\":{\"message\":\"no such\"}}"),
            "400: no such");
  int port = 0;
  {
    asio::io_context io;
    port = tcp::acceptor(io, {asio::ip::make_address("127.0.0.1"), 0}).local_endpoint().port();
  }
  HttpClient nobody(local(port));
  EXPECT_EQ(what_went_wrong(nobody.call({"GET", "/", "", {}})), "connect: Connection refused");
}

TEST(HttpClient, BodiesAreBounded) {
  Transport server([](const HttpRequest& r, const std::shared_ptr<Exchange>& x) {
    x->reply({200, std::string(r.path == "/long" ? 1001 : 1000, 'x'), "text/plain", {}});
  });
  ClientOptions o;
  o.max_body_bytes = 1000;
  HttpClient client(server.url(), o);
  EXPECT_EQ(client.call({"GET", "/", "", {}}).body.size(), 1000u);
  EXPECT_EQ(client.call({"GET", "/long", "", {}}).error, "the answer is longer than 1000 bytes");
  BreaksOff endless("HTTP/1.1 200 OK\r\n\r\n" + std::string(5000, 'x'));
  EXPECT_EQ(HttpClient(endless.url(), o).call({"GET", "/", "", {}}).error, "the answer is longer than 1000 bytes");
}

TEST(HttpClient, SilenceAndInterruptsEndARequest) {
  Transport server([](const HttpRequest&, const std::shared_ptr<Exchange>& x) { x->event("one"); });
  ClientOptions o;
  o.timeout_seconds = 0.2;
  HttpClient impatient(server.url(), o);
  ClientReply reply;
  auto keep = [&](ClientReply r) { reply = std::move(r); };
  impatient.send({"POST", "/", "", {}}, keep, [](const std::string&) {});
  impatient.run();
  EXPECT_EQ(reply.error, "receive: nothing came for 0.2 seconds");
  HttpClient client(server.url());
  bool stop = false;
  client.send({"POST", "/", "", {}}, keep, [&](const std::string&) { stop = true; });
  client.after(1000, [] { FAIL(); });
  client.run([&] { return stop; });
  EXPECT_EQ(reply.error, "interrupted");
}

TEST(HttpClient, WhatACallbackThrowsLeavesRun) {
  Transport server([](const HttpRequest&, const std::shared_ptr<Exchange>& x) { x->reply({}); });
  HttpClient client(server.url());
  client.send({"GET", "/", "", {}}, [](const ClientReply&) { fail("enough"); });
  EXPECT_THROW(client.run(), Error);
}

}  // namespace
}  // namespace puyu
