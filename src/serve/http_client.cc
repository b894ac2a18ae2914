#include <utility>  // before Beast: Boost 1.74's awaitable.hpp needs it with gcc 12

#include "serve/http_client.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "serve/sse.h"

namespace puyu {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

std::chrono::microseconds micros(double seconds) {
  return std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6));
}

class Call;

}  // namespace

struct HttpClient::Impl {
  Impl(Url u, const ClientOptions& o) : url(std::move(u)), options(o) {}
  void stop();

  Url url;
  ClientOptions options;
  asio::io_context io{1};
  tcp::resolver::results_type addresses;
  std::set<std::shared_ptr<Call>> calls;
  std::set<std::shared_ptr<asio::steady_timer>> timers;
  bool stopping = false;
};

namespace {

// One request on its own connection.
class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(HttpClient::Impl& client, ClientRequest request, HttpClient::OnReply on_reply, HttpClient::OnEvent on_event)
      : client_(client), stream_(client.io), on_reply_(std::move(on_reply)), on_event_(std::move(on_event)) {
    request_.method_string(request.method);
    request_.target(request.target);
    request_.version(11);
    request_.set(http::field::host, cat(client.url.host, ":", client.url.port));
    request_.set(http::field::user_agent, "puyu");
    request_.set(http::field::connection, "close");
    for (const auto& [name, value] : request.headers) request_.set(name, value);
    request_.body() = std::move(request.body);
    request_.prepare_payload();
  }
  void start();
  void finish(const std::string& error);

 private:
  void on_connect(error_code ec);
  void read_head(const std::string& write_error);
  void on_head();
  void read_body();
  void on_body(error_code ec);
  void take();
  std::string why(const std::string& what, error_code ec) const;
  uint64_t limit() const { return static_cast<uint64_t>(client_.options.max_body_bytes); }
  std::string too_long() const { return cat("the answer is longer than ", client_.options.max_body_bytes, " bytes"); }
  void wait_for_bytes() { stream_.expires_after(micros(client_.options.timeout_seconds)); }

  HttpClient::Impl& client_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
  HttpClient::OnReply on_reply_;
  HttpClient::OnEvent on_event_;
  ClientReply reply_;
  SseParser events_;
  bool is_stream_ = false, done_ = false;
};

std::string Call::why(const std::string& what, error_code ec) const {
  if (ec == beast::error::timeout)
    return cat(what, ": nothing came for ",
               what == "connect" ? client_.options.connect_seconds : client_.options.timeout_seconds, " seconds");
  if (ec == http::error::end_of_stream || ec == http::error::partial_message || ec == asio::error::connection_reset)
    return is_stream_ ? "the connection broke in mid-stream"
                      : cat(what, ": the connection broke before the answer was whole");
  return cat(what, ": ", ec.message());
}

void Call::start() {
  stream_.expires_after(micros(client_.options.connect_seconds));
  stream_.async_connect(client_.addresses, [self = shared_from_this()](error_code ec, const tcp::endpoint&) {
    if (!self->done_) self->on_connect(ec);
  });
}

void Call::on_connect(error_code ec) {
  if (ec) return finish(why("connect", ec));
  error_code ignored;
  stream_.socket().set_option(tcp::no_delay(true), ignored);
  wait_for_bytes();
  http::async_write(stream_, request_, [self = shared_from_this()](error_code e, size_t) {
    // A server that refuses a long body answers before it has read it: the answer says more than the broken pipe.
    if (!self->done_) self->read_head(e ? self->why("send", e) : "");
  });
}

void Call::read_head(const std::string& write_error) {
  // Streams have no length. (The limit of other bodies is kept below; "none" refuses everything in Boost 1.74.)
  parser_.body_limit(std::numeric_limits<uint64_t>::max());
  wait_for_bytes();
  http::async_read_header(stream_, buffer_, parser_, [self = shared_from_this(), write_error](error_code ec, size_t) {
    if (self->done_) return;
    if (ec) return self->finish(write_error.empty() ? self->why("receive", ec) : write_error);
    self->on_head();
  });
}

void Call::on_head() {
  const auto& m = parser_.get();
  reply_.status = static_cast<int>(m.result_int());
  const auto after = m[http::field::retry_after];
  int64_t seconds = 0;
  if (const auto r = std::from_chars(after.data(), after.data() + after.size(), seconds);
      !after.empty() && r.ec == std::errc() && r.ptr == after.data() + after.size() && seconds >= 0)
    reply_.retry_after = static_cast<double>(seconds);
  is_stream_ = on_event_ && reply_.status == 200 && m[http::field::content_type].starts_with("text/event-stream");
  if (parser_.content_length().value_or(0) > limit()) return finish(too_long());
  if (parser_.is_done()) return finish("");
  read_body();
}

void Call::read_body() {
  wait_for_bytes();
  http::async_read_some(stream_, buffer_, parser_, [self = shared_from_this()](error_code ec, size_t) {
    if (!self->done_) self->on_body(ec);
  });
}

void Call::on_body(error_code ec) {
  try {
    take();
  } catch (const Error& e) { return finish(e.what()); }
  if (done_) return;  // the caller stopped everything
  if (ec) return finish(why("receive", ec));
  if (parser_.is_done()) return finish("");
  read_body();
}

// Events that came go out at once, and their bytes are forgotten.
void Call::take() {
  if (!is_stream_) {
    if (parser_.get().body().size() > limit()) throw Error(too_long());
    return;
  }
  const std::string bytes = std::exchange(parser_.get().body(), {});
  events_.push(bytes, on_event_);
}

void Call::finish(const std::string& error) {
  if (std::exchange(done_, true)) return;
  const auto self = shared_from_this();
  client_.calls.erase(self);
  error_code ignored;
  stream_.socket().close(ignored);
  reply_.error = error;
  if (!is_stream_ && parser_.is_header_done()) reply_.body = std::move(parser_.get().body());
  on_event_ = {};
  std::exchange(on_reply_, {})(std::move(reply_));
}

}  // namespace

void HttpClient::Impl::stop() {
  if (std::exchange(stopping, true)) return;
  for (const auto& t : std::set(timers)) t->cancel();
  for (const auto& c : std::set(calls)) c->finish("interrupted");
}

std::string Url::base() const { return cat("http://", host, ":", port, path); }

Url parse_url(const std::string& url) {
  const std::string scheme = "http://";
  if (url.starts_with("https://"))
    fail("[http] '", url, "': TLS is not spoken here; put a proxy beside this program that does (docs/serving.md)");
  if (!url.starts_with(scheme)) fail("[http] expected http://host:port/v1, got '", url, "'");
  std::string rest = url.substr(scheme.size());
  Url out;
  const size_t slash = std::min(rest.find('/'), rest.size());
  out.path = rest.substr(slash);
  while (out.path.ends_with('/')) out.path.pop_back();
  std::string host = rest.substr(0, slash);
  if (const size_t colon = host.rfind(':'); colon != std::string::npos && !host.ends_with(']')) {
    const std::string digits = host.substr(colon + 1);
    const auto r = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (r.ec != std::errc() || r.ptr != digits.data() + digits.size() || out.port < 1 || out.port > 65535)
      fail("[http] '", url, "': expected a port of 1 to 65535, got '", digits, "'");
    host.resize(colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || url.find_first_of(" \t\r\n?#@") != std::string::npos)
    fail("[http] expected http://host:port/v1, got '", url, "'");
  out.host = host;
  return out;
}

HttpClient::HttpClient(const Url& url, const ClientOptions& options) : impl_(std::make_shared<Impl>(url, options)) {
  error_code ec;
  impl_->addresses = tcp::resolver(impl_->io).resolve(url.host, std::to_string(url.port), ec);
  if (ec) fail("[http] ", url.host, ": ", ec.message());
}

HttpClient::~HttpClient() = default;

void HttpClient::send(ClientRequest request, OnReply on_reply, OnEvent on_event) {
  auto call = std::make_shared<Call>(*impl_, std::move(request), std::move(on_reply), std::move(on_event));
  impl_->calls.insert(call);
  if (impl_->stopping) return call->finish("interrupted");
  call->start();
}

void HttpClient::after(double seconds, std::function<void()> f) {
  if (impl_->stopping) return;
  auto timer = std::make_shared<asio::steady_timer>(impl_->io, micros(seconds));
  impl_->timers.insert(timer);
  timer->async_wait([impl = impl_.get(), timer, f = std::move(f)](error_code ec) {
    impl->timers.erase(timer);
    if (!ec && !impl->stopping) f();
  });
}

void HttpClient::run(const std::function<bool()>& should_stop) {
  impl_->io.restart();
  do {
    impl_->io.run_for(std::chrono::milliseconds(100));
    if (should_stop && should_stop()) impl_->stop();
  } while (!impl_->io.stopped());
}

ClientReply HttpClient::call(ClientRequest request, const std::function<bool()>& should_stop) {
  ClientReply out;
  send(std::move(request), [&out](ClientReply r) { out = std::move(r); });
  run(should_stop);
  return out;
}

std::vector<std::pair<std::string, std::string>> json_headers(const std::string& api_key) {
  std::vector<std::pair<std::string, std::string>> out = {{"Content-Type", "application/json"}};
  if (api_key.find_first_of("\r\n") != std::string::npos) fail("[http] an API key is one line");
  if (!api_key.empty()) out.emplace_back("Authorization", "Bearer " + api_key);
  return out;
}

std::string what_went_wrong(const ClientReply& r) {
  if (!r.error.empty()) return r.error;
  std::string message = r.body;
  try {
    const Json j = Json::parse(r.body, "error");
    const Json* e = j.find("error");
    message = e && e->is_object() ? e->get("message", r.body) : j.get("message", r.body);
  } catch (const Error&) {}  // not JSON: a proxy's page, most likely
  return cat(r.status, ": ", utf8_prefix(repair_utf8(message), 300));
}

}  // namespace puyu
