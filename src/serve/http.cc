#include <utility>  // before Beast: Boost 1.74's awaitable.hpp needs it with gcc 12

#include "serve/http.h"

#include <netinet/tcp.h>
#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "serve/http_wire.h"

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
constexpr size_t kMaxAhead = 64 << 10;      // bytes of further requests that are taken while one is answered
constexpr double kLinger = 2;               // seconds that a client has to close its side after its last answer

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds millis(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

class Session;

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& o, Handler h) : options(o), handler(std::move(h)), acceptor(io), poll(io), grace(io) {}
  void accept();
  void admit(tcp::socket socket);
  bool make_room();
  void watch_stop();
  void stop();
  void end_if_drained();
  bool drained() const { return !acceptor.is_open(); }

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

// A connection. Everything below runs on the transport's thread, but for the calls of Exchange, which post there.
//
// It rests until bytes come, reads a request, is busy with its answer, and rests again or lingers. A resting connection
// is not timed: when a server closes one just as a request arrives on it, that request is lost, and its client cannot
// know whether it was run (RFC 9112, 9.5). So it stays while there is room for it; TCP notices a peer that is gone.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(HttpServer::Impl& server, tcp::socket socket)
      : server_(server), socket_(std::move(socket)), timer_(server.io) {}

  void start() {
    server_.sessions.insert(this);
    rest();
  }
  void turn_away() {
    server_.sessions.insert(this);
    refuse(503, cat("the server has ", server_.options.max_connections, " connections already"));
  }
  bool in_work() const { return in_work_; }
  // When it began to rest, if nothing came since and its client was told that it may be closed by now.
  std::optional<Clock::time_point> spare_since();
  void hurry();  // the server ends: as soon as nothing is lost by it
  void close();
  asio::io_context& io() { return server_.io; }

  // Of exchange number `serial`; late calls of an earlier one do nothing.
  void reply(int64_t serial, const HttpReply& r);
  void open(int64_t serial);
  void event(int64_t serial, const std::string& data, const std::string& title);
  void end(int64_t serial);

 private:
  enum class Phase { kResting, kReading, kBusy, kLingering, kClosed };

  void rest();
  void watch();
  void look_ahead();
  void read();
  void on_head(error_code ec);
  void on_read(error_code ec);
  void handle();
  void refuse(int status, const std::string& message);
  bool takes_answer(int64_t serial) const { return serial == serial_ && phase_ == Phase::kBusy && !finished_; }
  void send(std::string bytes);
  void write();
  void done();
  void linger();
  void discard(size_t most);
  void allow(double seconds);
  void allow_any_time() { ++allowance_, timer_.cancel(); }
  void too_late();
  bool has_bytes();

  HttpServer::Impl& server_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  int64_t allowance_ = 0;  // number of the time limit that holds
  Phase phase_ = Phase::kResting;
  Clock::time_point resting_since_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::shared_ptr<Exchange> exchange_;
  std::deque<std::string> out_;
  size_t queued_ = 0, written_ = 0;  // bytes in out_, and of its first
  int64_t serial_ = 0;
  bool streaming_ = false, keep_alive_ = false, chunked_ = false, head_only_ = false, finished_ = false;
  bool in_work_ = false;  // the handler's, and not yet sent
  bool unread_ = false;   // of the request, which was refused before it was whole
  bool late_ = false;     // so is the rest of the request
  bool watching_ = false, writing_ = false;
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

// The time that the next thing may take; the one before is forgotten.
void Session::allow(double seconds) {
  timer_.expires_after(millis(seconds));
  timer_.async_wait([self = shared_from_this(), n = ++allowance_](error_code ec) {
    if (!ec && n == self->allowance_) self->too_late();
  });
}

void Session::too_late() {
  if (phase_ != Phase::kReading) return close();  // a reader that does not read, or one that does not go
  late_ = true;
  error_code ignored;
  socket_.cancel(ignored);  // on_read() says so
}

void Session::rest() {
  phase_ = Phase::kResting, resting_since_ = Clock::now();
  parser_.reset();
  if (buffer_.size() > 0) return read();  // it came while the last one was answered
  buffer_.shrink_to_fit();
  watch();
}

// Waits for bytes: of the next request, or, while an answer is in work, for the news that its reader has left.
void Session::watch() {
  if (watching_) return;
  watching_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code ec) {
    self->watching_ = false;
    if (self->phase_ == Phase::kClosed || ec == asio::error::operation_aborted) return;
    if (ec) return self->close();
    if (self->phase_ == Phase::kResting) return self->read();
    if (self->phase_ == Phase::kBusy) self->look_ahead();
  });
}

// What comes while an answer is in work is a further request, or the end: a client that closes its side is taken to
// have left, since one that waits for an answer looks the same as one that does not.
void Session::look_ahead() {
  const auto space = buffer_.prepare(4 << 10);
  const ssize_t n = ::recv(socket_.native_handle(), space.data(), space.size(), MSG_DONTWAIT);
  if (n == 0 && finished_) return void(keep_alive_ = false);  // it may still read what is being sent
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return close();
  if (n > 0) buffer_.commit(static_cast<size_t>(n));
  if (buffer_.size() < kMaxAhead) watch();
}

bool Session::has_bytes() {
  char byte;
  return ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

std::optional<Clock::time_point> Session::spare_since() {
  if (phase_ != Phase::kResting || Clock::now() - resting_since_ < millis(server_.options.timeout_seconds)) return {};
  return has_bytes() ? std::nullopt : std::optional(resting_since_);
}

void Session::hurry() {
  if (phase_ == Phase::kResting && !has_bytes()) return close();
  if (phase_ == Phase::kReading || phase_ == Phase::kLingering) allow(kLinger);
}

void Session::read() {
  phase_ = Phase::kReading, late_ = false;
  parser_.emplace();
  parser_->body_limit(static_cast<uint64_t>(server_.options.max_body_bytes));
  parser_->header_limit(32 << 10);
  allow(server_.drained() ? kLinger : server_.options.timeout_seconds);
  http::async_read_header(socket_, buffer_, *parser_,
                          [self = shared_from_this()](error_code ec, size_t) { self->on_head(ec); });
}

// A client that says 'Expect: 100-continue' sends its body only when told to.
void Session::on_head(error_code ec) {
  if (late_ && !ec) ec = asio::error::operation_aborted;  // its time ran out as the last bytes came
  if (ec || phase_ != Phase::kReading || parser_->is_done()) return on_read(ec);
  const auto& m = parser_->get();
  if (m.version() >= 11 && beast::iequals(m[http::field::expect], "100-continue") && buffer_.size() == 0) {
    const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    if (::send(socket_.native_handle(), go_on.data(), go_on.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
        static_cast<ssize_t>(go_on.size()))
      return close();
  }
  http::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](error_code e, size_t) { self->on_read(e); });
}

void Session::on_read(error_code ec) {
  if (phase_ != Phase::kReading) return;
  allow_any_time();
  ++serial_;
  streaming_ = finished_ = head_only_ = false;
  if (ec && server_.stopping && late_) return refuse(503, "the server is stopping");
  if (ec && late_) return refuse(408, cat("the request was not whole after ", server_.options.timeout_seconds, " s"));
  if (ec == http::error::body_limit)
    return refuse(413, cat("the body is longer than ", server_.options.max_body_bytes, " bytes"));
  if (ec == http::error::header_limit) return refuse(431, "the header is too long");
  if (ec.category() == http::make_error_code(http::error::bad_method).category() && ec != http::error::end_of_stream &&
      ec != http::error::partial_message)
    return refuse(400, cat("not HTTP: ", ec.message()));
  if (ec) return close();
  if (server_.stopping) return refuse(503, "the server is stopping and takes no new requests");
  handle();
}

void Session::handle() {
  auto& m = parser_->get();
  phase_ = Phase::kBusy, in_work_ = true;
  keep_alive_ = m.keep_alive(), chunked_ = m.version() >= 11, head_only_ = m.method() == http::verb::head;
  const std::string target(m.target());
  HttpRequest r{head_only_ ? "GET" : std::string(m.method_string()), target.substr(0, target.find('?')),
                std::move(m.body()), std::string(m[http::field::authorization]), std::string(m["X-Api-Key"])};
  exchange_ = std::make_shared<SessionExchange>(shared_from_this(), serial_);
  try {
    server_.handler(r, exchange_);
  } catch (const std::exception& e) {  // memory, most likely: without an answer its client would wait for ever
    log_error("[serve] ", r.method, " ", r.path, ": ", e.what());
    reply(serial_, {500, server_.options.error_body(500, "the server could not handle this request", r.path)});
  }
  watch();
}

// An error of the transport itself; the rest of the request is not read, so the connection ends.
void Session::refuse(int status, const std::string& message) {
  const std::string target(parser_ ? std::string(parser_->get().target()) : "");
  phase_ = Phase::kBusy, unread_ = true, keep_alive_ = false;
  head_only_ = parser_ && parser_->get().method() == http::verb::head;
  HttpReply r{status, server_.options.error_body(status, message, target.substr(0, target.find('?')))};
  if (status == 503) r.headers.emplace_back("Retry-After", "1");
  reply(serial_, r);
}

void Session::reply(int64_t serial, const HttpReply& r) {
  if (!takes_answer(serial) || streaming_) return;
  keep_alive_ = keep_alive_ && !server_.stopping, finished_ = true;
  send(reply_head(r, keep_alive_, server_.options) + (head_only_ ? "" : r.body));
}

void Session::open(int64_t serial) {
  if (!takes_answer(serial) || streaming_) return;
  streaming_ = true;
  keep_alive_ = keep_alive_ && chunked_ && !server_.stopping;
  send(stream_head(chunked_, keep_alive_, server_.options));
}

void Session::event(int64_t serial, const std::string& data, const std::string& title) {
  open(serial);
  if (takes_answer(serial) && !head_only_) send(event_bytes(data, title, chunked_));
}

void Session::end(int64_t serial) {
  if (!takes_answer(serial)) return;
  finished_ = true;
  if (chunked_ && streaming_ && !head_only_) return send("0\r\n\r\n");
  if (!writing_) done();
}

void Session::send(std::string bytes) {
  queued_ += bytes.size();
  out_.push_back(std::move(bytes));
  if (queued_ > kMaxQueued && out_.size() > 1) return close();  // one whole answer may be longer
  if (!writing_) write();
}

// The reader has its time for every piece that it takes, however long the whole is.
void Session::write() {
  writing_ = true;
  allow(server_.options.timeout_seconds);
  const auto left = asio::buffer(out_.front()) + written_;
  socket_.async_write_some(left, [self = shared_from_this()](error_code ec, size_t n) {
    self->writing_ = false;
    if (self->phase_ == Phase::kClosed) return;
    if (ec) return self->close();
    self->queued_ -= n, self->written_ += n;
    if (self->written_ == self->out_.front().size()) self->out_.pop_front(), self->written_ = 0;
    if (!self->out_.empty()) return self->write();
    self->allow_any_time();
    if (self->finished_) self->done();
  });
}

void Session::done() {
  in_work_ = false;
  exchange_.reset();
  keep_alive_ ? rest() : linger();
  server_.end_if_drained();
}

// The answer was the last. A client that still sends, or sent a request more, would see its connection reset, and maybe
// not the answer, if we closed now: we say that we have ended, and take what comes until it has too (RFC 9112, 9.6).
void Session::linger() {
  phase_ = Phase::kLingering;
  parser_.reset();
  buffer_.clear();
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  allow(unread_ && !late_ && !server_.drained() ? server_.options.timeout_seconds : kLinger);
  discard(kMaxDiscarded);
}

void Session::discard(size_t most) {
  socket_.async_read_some(buffer_.prepare(16 << 10), [self = shared_from_this(), most](error_code ec, size_t n) {
    if (self->phase_ == Phase::kClosed) return;
    if (ec || n >= most) return self->close();
    self->discard(most - n);
  });
}

void Session::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  allow_any_time();
  error_code ignored;
  socket_.close(ignored);
  server_.sessions.erase(this);
  if (server_.drained() && server_.sessions.empty()) server_.grace.cancel();
  if (auto e = std::exchange(exchange_, nullptr); e && e->on_disconnect) std::exchange(e->on_disconnect, {})();
  in_work_ = false;
  server_.end_if_drained();
}

// A peer that vanished without a word is noticed after two minutes.
void notice_lost_peers(tcp::socket& socket) {
  error_code ignored;
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const std::pair<int, int> after[] = {{TCP_KEEPIDLE, 60}, {TCP_KEEPINTVL, 15}, {TCP_KEEPCNT, 4}};
  for (auto [option, n] : after) ::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &n, sizeof n);
}

}  // namespace

void HttpServer::Impl::accept() {
  acceptor.async_accept([this](error_code ec, tcp::socket socket) {
    if (drained()) return;
    if (ec && !make_room()) {  // out of file descriptors, most likely: wait for some to come back
      log_warn("[serve] cannot accept a connection: ", ec.message());
      auto pause = std::make_shared<asio::steady_timer>(io, millis(0.2));
      return pause->async_wait([this, pause](error_code) { accept(); });
    }
    if (!ec) admit(std::move(socket));
    accept();
  });
}

void HttpServer::Impl::admit(tcp::socket socket) {
  const auto full = [this] { return static_cast<int64_t>(sessions.size()) >= options.max_connections; };
  if (static_cast<int64_t>(sessions.size()) >= options.max_connections + kTurnedAway) return;
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  notice_lost_peers(socket);
  const auto session = std::make_shared<Session>(*this, std::move(socket));
  if (full() && !make_room()) return session->turn_away();
  session->start();
}

// Ends the connection that has been without a request for longest, if its client was told to expect that.
bool HttpServer::Impl::make_room() {
  Session* longest = nullptr;
  std::optional<Clock::time_point> since;
  for (Session* s : sessions)
    if (const auto t = s->spare_since(); t && (!since || *t < *since)) longest = s, since = t;
  if (longest) longest->close();
  return longest != nullptr;
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
  if (!stopping || drained()) return;
  if (std::any_of(sessions.begin(), sessions.end(), [](const Session* s) { return s->in_work(); })) return;
  error_code ignored;
  acceptor.close(ignored);
  for (Session* s : std::vector<Session*>(sessions.begin(), sessions.end())) s->hurry();
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
