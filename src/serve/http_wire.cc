#include "serve/http_wire.h"

#include <boost/beast/http/status.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/json.h"

namespace puyu {
namespace {

// The hint is less than the truth: a client that believes it never asks on a connection that is just being closed.
std::string common_headers(bool keep_alive, const HttpOptions& o) {
  std::string out = cat("Connection: ", keep_alive ? "keep-alive" : "close", "\r\n");
  const auto seconds = static_cast<int64_t>(o.timeout_seconds) - 2;
  if (keep_alive && seconds > 0) out += cat("Keep-Alive: timeout=", seconds, "\r\n");
  for (const auto& [name, value] : o.headers) out += name + ": " + value + "\r\n";
  return out;
}

}  // namespace

std::string HttpOptions::plain_error(int /*status*/, const std::string& message, const std::string& /*path*/) {
  Json j = Json::object();
  j["error"]["message"] = message;
  return j.dump();
}

std::string reply_head(const HttpReply& r, bool keep_alive, const HttpOptions& o) {
  const std::string reason(boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(r.status)));
  std::string head = cat("HTTP/1.1 ", r.status, " ", reason, "\r\nContent-Type: ", r.content_type,
                         "\r\nContent-Length: ", r.body.size(), "\r\n", common_headers(keep_alive, o));
  for (const auto& [name, value] : r.headers) head += name + ": " + value + "\r\n";
  return head + "\r\n";
}

std::string stream_head(bool chunked, bool keep_alive, const HttpOptions& o) {
  return cat("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n",
             chunked ? "Transfer-Encoding: chunked\r\n" : "", common_headers(keep_alive, o), "\r\n");
}

std::string event_bytes(const std::string& data, const std::string& title, bool chunked) {
  std::string line = (title.empty() ? "" : "event: " + title + "\n") + "data: " + data + "\n\n";
  if (!chunked) return line;
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", line.size());
  return size + line + "\r\n";
}

}  // namespace puyu
