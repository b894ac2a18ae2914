#include <utility>  // before Beast: Boost 1.74's awaitable.hpp needs it with gcc 12

#include "serve/http.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/log.h"

namespace puyu {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kMaxQueued = 16 << 20;     // bytes that wait for a slow reader before it is cut off
constexpr int64_t kTurnedAway = 64;         // connections beyond the limit that are told so; more are just closed
constexpr size_t kMaxDiscarded = 64 << 20;  // bytes of a refused request that are read to no end

std::chrono::milliseconds millis(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

class Session;

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& o, Handler h) : options(o), handler(std::move(h)), acceptor(io), poll(io), grace(io) {}
  void accept();
  void watch_stop();
  void stop();
  void end_if_drained();

  HttpOptions options;
  Handler handler;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::steady_timer poll, grace;
  std::function<bool()> should_stop;
  std::set<Session*> sessions;
  bool stopping = false;
};

namespace {

// A connection. Everything below runs on the transport's thread, but for the three calls of Exchange, which post there.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(HttpServer::Impl& server, tcp::socket socket) : server_(server), stream_(std::move(socket)) {}

  void start() {
    server_.sessions.insert(this);
    read();
  }
  void turn_away() {
    server_.sessions.insert(this);
    refuse(503, cat("the server has ", server_.options.max_connections, " connections already"));
  }
  bool busy() const { return busy_; }
  bool in_work() const { return in_work_; }
  void close();
  asio::io_context& io() { return server_.io; }

  // Of exchange number `serial`; late calls of an earlier one do nothing.
  void reply(int64_t serial, const HttpReply& r);
  void open(int64_t serial);
  void event(int64_t serial, const std::string& data, const std::string& title);
  void end(int64_t serial);

 private:
  void read();
  void on_read(error_code ec);
  void refuse(int status, const std::string& message);
  void watch();
  void send(std::string bytes);
  std::string keep_alive_hint() const;
  void write();
  void done();
  void discard(size_t most);

  HttpServer::Impl& server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::shared_ptr<Exchange> exchange_;
  std::deque<std::string> out_;
  size_t queued_ = 0;
  int64_t serial_ = 0;
  bool busy_ = false, streaming_ = false, keep_alive_ = false, chunked_ = false, finished_ = false;
  bool in_work_ = false;  // the handler's, and not yet sent
  bool unread_ = false;   // of the request, which was refused before it was whole
  bool watching_ = false, writing_ = false, closed_ = false;
};

class SessionExchange : public Exchange {
 public:
  SessionExchange(std::shared_ptr<Session> s, int64_t serial) : session_(std::move(s)), serial_(serial) {}
  void reply(HttpReply r) override {
    asio::post(session_->io(), [s = session_, n = serial_, r = std::move(r)] { s->reply(n, r); });
  }
  void open() override {
    asio::post(session_->io(), [s = session_, n = serial_] { s->open(n); });
  }
  void event(std::string data, std::string name) override {
    asio::post(session_->io(),
               [s = session_, n = serial_, d = std::move(data), e = std::move(name)] { s->event(n, d, e); });
  }
  void end() override {
    asio::post(session_->io(), [s = session_, n = serial_] { s->end(n); });
  }

 private:
  std::shared_ptr<Session> session_;
  int64_t serial_;
};

void Session::read() {
  if (!server_.acceptor.is_open()) return close();
  parser_.emplace();
  parser_->body_limit(static_cast<uint64_t>(server_.options.max_body_bytes));
  parser_->header_limit(32 << 10);
  stream_.expires_after(millis(server_.options.timeout_seconds));
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](error_code ec, size_t) { self->on_read(ec); });
}

void Session::on_read(error_code ec) {
  busy_ = !ec, ++serial_;
  streaming_ = finished_ = false;
  if (ec == http::error::body_limit)
    return refuse(413, cat("the body is longer than ", server_.options.max_body_bytes, " bytes"));
  if (ec == http::error::header_limit) return refuse(431, "the header is too long");
  if (ec.category() == http::make_error_code(http::error::bad_method).category() && ec != http::error::end_of_stream &&
      ec != http::error::partial_message)
    return refuse(400, cat("not HTTP: ", ec.message()));
  if (ec) return close();
  stream_.expires_never();
  if (server_.stopping) return refuse(503, "the server is stopping and takes no new requests");
  auto& m = parser_->get();
  keep_alive_ = m.keep_alive(), chunked_ = m.version() >= 11;
  const std::string target(m.target());
  HttpRequest r{std::string(m.method_string()), target.substr(0, target.find('?')), std::move(m.body()),
                std::string(m[http::field::authorization]), std::string(m["X-Api-Key"])};
  exchange_ = std::make_shared<SessionExchange>(shared_from_this(), serial_);
  in_work_ = true;
  server_.handler(r, exchange_);
  watch();
}

// An error of the transport itself; the rest of the request is not read, so the connection ends.
void Session::refuse(int status, const std::string& message) {
  busy_ = unread_ = true, keep_alive_ = false;
  const char* type = status == 503 ? "server_error" : "invalid_request_error";
  const std::string body = cat("{\"error\":{\"message\":\"", message, "\",\"type\":\"", type, "\",");
  HttpReply r{status, body + "\"param\":null,\"code\":null}}", "application/json", {}};
  if (status == 503) r.headers.emplace_back("Retry-After", "1");
  reply(serial_, r);
}

// While an answer is in work nobody reads the socket; a peek when it becomes readable tells whether the client left.
void Session::watch() {
  if (watching_ || closed_) return;
  watching_ = true;
  stream_.socket().async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code ec) {
    self->watching_ = false;
    if (ec || !self->busy_ || self->closed_) return;
    char byte;
    const ssize_t n = ::recv(self->stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return self->close();
    if (n < 0) self->watch();  // n > 0: a pipelined request; it is read after this answer
  });
}

// Less than the truth: a client that believes it never asks on a connection that is just being closed.
std::string Session::keep_alive_hint() const {
  const auto seconds = static_cast<int64_t>(server_.options.timeout_seconds) - 2;
  return seconds < 1 ? "" : cat("Keep-Alive: timeout=", seconds, "\r\n");
}

void Session::reply(int64_t serial, const HttpReply& r) {
  if (serial != serial_ || !busy_ || streaming_ || finished_) return;
  const bool keep = keep_alive_ && !server_.stopping;
  std::string head =
      cat("HTTP/1.1 ", r.status, " ", std::string(http::obsolete_reason(static_cast<http::status>(r.status))),
          "\r\nContent-Type: ", r.content_type, "\r\nContent-Length: ", r.body.size(),
          "\r\nConnection: ", keep ? "keep-alive" : "close", "\r\n", keep ? keep_alive_hint() : "");
  for (const auto& [name, value] : server_.options.headers) head += name + ": " + value + "\r\n";
  for (const auto& [name, value] : r.headers) head += name + ": " + value + "\r\n";
  keep_alive_ = keep, finished_ = true;
  send(head + "\r\n" + r.body);
}

void Session::open(int64_t serial) {
  if (serial != serial_ || !busy_ || streaming_ || finished_) return;
  streaming_ = true;
  std::string head =
      cat("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n",
          chunked_ ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n", chunked_ ? keep_alive_hint() : "");
  for (const auto& [name, value] : server_.options.headers) head += name + ": " + value + "\r\n";
  if (!chunked_) keep_alive_ = false;
  send(head + "\r\n");
}

void Session::event(int64_t serial, const std::string& data, const std::string& title) {
  open(serial);
  if (serial != serial_ || !busy_ || finished_) return;
  const std::string line = (title.empty() ? "" : "event: " + title + "\n") + "data: " + data + "\n\n";
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", line.size());
  send(chunked_ ? size + line + "\r\n" : line);
}

void Session::end(int64_t serial) {
  if (serial != serial_ || !busy_ || finished_) return;
  finished_ = true;
  if (chunked_ && streaming_) return send("0\r\n\r\n");
  if (!writing_) done();
}

void Session::send(std::string bytes) {
  if (closed_) return;
  queued_ += bytes.size();
  out_.push_back(std::move(bytes));
  if (queued_ > kMaxQueued && out_.size() > 1) return close();  // one whole answer may be longer
  if (!writing_) write();
}

void Session::write() {
  writing_ = true;
  stream_.expires_after(millis(server_.options.timeout_seconds));
  asio::async_write(stream_, asio::buffer(out_.front()), [self = shared_from_this()](error_code ec, size_t n) {
    self->writing_ = false;
    if (self->closed_) return;
    if (ec) return self->close();
    self->queued_ -= n;
    self->out_.pop_front();
    if (!self->out_.empty()) return self->write();
    self->stream_.expires_never();
    if (self->finished_) self->done();
  });
}

void Session::done() {
  busy_ = in_work_ = false;
  exchange_.reset();
  server_.end_if_drained();
  if (keep_alive_) return read();
  error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  if (!unread_) return close();
  stream_.expires_after(millis(server_.options.timeout_seconds));
  discard(kMaxDiscarded);
}

// A client that still sends would see its connection reset, and not the answer, if we closed now.
void Session::discard(size_t most) {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(64 << 10), [self = shared_from_this(), most](error_code ec, size_t n) {
    if (ec || n >= most || !self->server_.acceptor.is_open()) return self->close();
    self->discard(most - n);
  });
}

void Session::close() {
  if (std::exchange(closed_, true)) return;
  error_code ignored;
  stream_.socket().close(ignored);
  server_.sessions.erase(this);
  if (!server_.acceptor.is_open() && server_.sessions.empty()) server_.grace.cancel();
  if (auto e = std::exchange(exchange_, nullptr); e && e->on_disconnect && busy_) std::exchange(e->on_disconnect, {})();
  busy_ = in_work_ = false;
  server_.end_if_drained();
}

}  // namespace

void HttpServer::Impl::accept() {
  acceptor.async_accept([this](error_code ec, tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (ec) {  // out of file descriptors, most likely: wait for some to come back
      log_warn("[serve] cannot accept a connection: ", ec.message());
      auto pause = std::make_shared<asio::steady_timer>(io, millis(0.2));
      return pause->async_wait([this, pause](error_code) { accept(); });
    }
    const auto open = static_cast<int64_t>(sessions.size());
    if (open < options.max_connections + kTurnedAway) {
      error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      const auto session = std::make_shared<Session>(*this, std::move(socket));
      if (open < options.max_connections)
        session->start();
      else
        session->turn_away();
    }
    accept();
  });
}

void HttpServer::Impl::watch_stop() {
  poll.expires_after(millis(0.1));
  poll.async_wait([this](error_code ec) {
    if (ec || stopping) return;
    if (should_stop && should_stop()) return stop();
    watch_stop();
  });
}

// What is in work has the grace time; what comes is refused with a word, which a closed port would not say.
void HttpServer::Impl::stop() {
  if (std::exchange(stopping, true)) return;
  poll.cancel();
  grace.expires_after(millis(options.grace_seconds));
  grace.async_wait([this](error_code ec) {
    if (ec) return;
    acceptor.close(ec);
    for (Session* s : std::vector<Session*>(sessions.begin(), sessions.end())) s->close();
  });
  end_if_drained();
}

// io.run() returns when the last connection has gone: of idle ones at once, of refusals when they are written.
void HttpServer::Impl::end_if_drained() {
  if (!stopping || !acceptor.is_open()) return;
  if (std::any_of(sessions.begin(), sessions.end(), [](const Session* s) { return s->in_work(); })) return;
  error_code ignored;
  acceptor.close(ignored);
  for (Session* s : std::vector<Session*>(sessions.begin(), sessions.end()))
    if (!s->busy()) s->close();
  if (sessions.empty()) grace.cancel();
}

HttpServer::HttpServer(const HttpOptions& options, Handler handler)
    : impl_(std::make_shared<Impl>(options, std::move(handler))) {
  if (options.port < 0 || options.port > 65535) fail("[serve] port: expected 0 to 65535, got ", options.port);
  error_code ec;
  const auto address = asio::ip::make_address(options.host == "localhost" ? "127.0.0.1" : options.host, ec);
  if (ec) fail("[serve] host: expected an IP address to listen on (127.0.0.1, 0.0.0.0, ::), got '", options.host, "'");
  const tcp::endpoint endpoint(address, static_cast<uint16_t>(options.port));
  auto& a = impl_->acceptor;
  a.open(endpoint.protocol(), ec);
  if (!ec) a.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) a.bind(endpoint, ec);
  if (!ec) a.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) fail("[serve] cannot listen on ", options.host, ":", options.port, ": ", ec.message());
  impl_->accept();
}

HttpServer::~HttpServer() = default;
int HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }
void HttpServer::stop() {
  // Weak: a stop that comes after run() stays in the queue, and a queue must not own its owner.
  asio::post(impl_->io, [weak = std::weak_ptr<Impl>(impl_)] {
    if (auto impl = weak.lock()) impl->stop();
  });
}

void HttpServer::run(const std::function<bool()>& should_stop) {
  impl_->should_stop = should_stop;
  impl_->watch_stop();
  while (!impl_->io.stopped()) try {
      impl_->io.run();
    } catch (const std::exception& e) { log_error("[serve] ", e.what()); }
}

}  // namespace puyu
