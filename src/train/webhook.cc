#include "train/webhook.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/log.h"

namespace puyu {
namespace {
using Clock = std::chrono::steady_clock;

constexpr size_t kMostWaiting = 100;
constexpr double kPatience = 5;      // seconds for one alert
constexpr size_t kLongestHead = 64;  // of the answer only its status is read

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

struct Addresses {
  addrinfo* first = nullptr;
  ~Addresses() {
    if (first) ::freeaddrinfo(first);
  }
};

// Waits until the socket is ready; false at the deadline.
bool ready(int fd, int16_t events, Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd p{fd, events, 0};
  return ::poll(&p, 1, static_cast<int>(std::max<int64_t>(0, left))) > 0;
}

bool connected(int fd, const addrinfo& a, Clock::time_point deadline) {
  if (::connect(fd, a.ai_addr, a.ai_addrlen) == 0) return true;
  if (errno != EINPROGRESS || !ready(fd, POLLOUT, deadline)) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

void send_all(int fd, std::string_view bytes, Clock::time_point deadline, const std::string& where) {
  while (!bytes.empty()) {
    if (!ready(fd, POLLOUT, deadline)) fail("[webhook] ", where, " does not take the message");
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) fail("[webhook] ", where, ": ", std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string receive_status(int fd, Clock::time_point deadline, const std::string& where) {
  std::string head;
  char buf[kLongestHead];
  while (head.size() < kLongestHead && head.find('\n') == std::string::npos) {
    if (!ready(fd, POLLIN, deadline)) fail("[webhook] ", where, " does not answer");
    const ssize_t n = ::recv(fd, buf, sizeof buf, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) break;
    head.append(buf, static_cast<size_t>(n));
  }
  return head.substr(0, head.find_first_of("\r\n"));
}

}  // namespace

HttpUrl parse_http_url(const std::string& url) {
  const std::string scheme = "http://";
  auto wrong = [&](const char* why) {
    fail("[webhook] '", url, "': ", why, "; expected http://host[:port][/path] (https needs a relay)");
  };
  if (!url.starts_with(scheme)) wrong("not an http URL");
  if (url.find_first_of(" \t\r\n") != std::string::npos) wrong("holds a space");
  const std::string rest = url.substr(scheme.size()), authority = rest.substr(0, rest.find('/'));
  HttpUrl out{authority, "80", rest.substr(authority.size())};
  if (out.path.empty()) out.path = "/";
  const size_t colon = authority.rfind(':'), bracket = authority.rfind(']');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket))
    out.host = authority.substr(0, colon), out.port = authority.substr(colon + 1);
  if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty()) wrong("no host");
  const bool digits = !out.port.empty() && out.port.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || out.port.size() > 5 || std::stoi(out.port) > 65535 || std::stoi(out.port) == 0)
    wrong("no port number");
  return out;
}

void http_post(const HttpUrl& url, const std::string& body, double seconds) {
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  const std::string where = url.host + ":" + url.port;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  Addresses found;
  if (const int e = ::getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found.first); e != 0)
    fail("[webhook] ", where, ": ", ::gai_strerror(e));
  const std::string message = cat("POST ", url.path, " HTTP/1.1\r\nHost: ", where, "\r\nContent-Type: application/json",
                                  "\r\nContent-Length: ", body.size(), "\r\nConnection: close\r\n\r\n", body);
  for (const addrinfo* a = found.first; a; a = a->ai_next) {
    const Socket s(::socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol));
    if (s.fd() < 0 || !connected(s.fd(), *a, deadline)) continue;
    send_all(s.fd(), message, deadline, where);
    const std::string status = receive_status(s.fd(), deadline, where);
    if (!status.starts_with("HTTP/1.") || status.size() < 10 || status[9] != '2')
      fail("[webhook] ", where, url.path, " answered '", status, "'");
    return;
  }
  fail("[webhook] ", where, ": nobody takes the connection");
}

Webhook::Webhook(const std::string& url) {
  if (url.empty()) return;
  url_ = parse_http_url(url);
  thread_ = std::thread([this] { work(); });
}

Webhook::~Webhook() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    if (queue_.size() > 1) queue_.erase(queue_.begin(), queue_.end() - 1);  // the newest says why we end
  }
  wake_.notify_one();
  thread_.join();
}

void Webhook::send(const Json& alert) {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kMostWaiting) return log_warn("[webhook] too many alerts are waiting; one is dropped");
    queue_.push_back(alert.dump());
  }
  wake_.notify_one();
}

// The next alert to send; none: it is time to end.
std::optional<std::string> Webhook::next() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return ending_ || !queue_.empty(); });
  if (queue_.empty()) return {};
  std::string body = std::move(queue_.front());
  queue_.pop_front();
  return body;
}

void Webhook::work() {
  while (const std::optional<std::string> body = next()) try {
      http_post(url_, *body, kPatience);
    } catch (const std::exception& e) { log_warn(e.what(), "; the alert was: ", *body); }
}

}  // namespace puyu
