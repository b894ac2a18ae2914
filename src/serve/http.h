// HTTP/1.1 transport: connections, limits, timeouts, server-sent events. Knows nothing of models. One thread runs all
// connections; an answer may come from any thread, at any time, in pieces.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace puyu {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 23333;
  int64_t max_body_bytes = 4 << 20;
  int64_t max_connections = 1024;
  // For a whole request to arrive, and for a reader to take a piece of what was sent. A connection without a request
  // lasts longer: it ends when another needs its place, or its client wants it to.
  double timeout_seconds = 60;
  double grace_seconds = 20;                                 // for answers in work when the server stops
  std::vector<std::pair<std::string, std::string>> headers;  // of every answer
  // The JSON body of an error that the transport finds itself; `path` is "" where it did not come so far.
  std::function<std::string(int status, const std::string& message, const std::string& path)> error_body = plain_error;
  static std::string plain_error(int status, const std::string& message, const std::string& path);
};

struct HttpRequest {
  std::string method, path, body;
  std::string authorization, api_key;  // the headers Authorization and X-Api-Key
};
struct HttpReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// One request's answer: reply() once, or open(), event() any number of times and then end(). Thread-safe; after the
// client has gone, calls do nothing.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void reply(HttpReply reply) = 0;
  virtual void open() = 0;  // an event stream begins: its headers are sent; event() does it too
  // One "data:" line of a text/event-stream, after an "event:" line where it has a name.
  virtual void event(std::string data, std::string name) = 0;
  void event(std::string data) { event(std::move(data), ""); }
  virtual void end() = 0;
  // Called once, on the transport's thread, if the client goes away before the answer is complete. Set it in the
  // handler.
  std::function<void()> on_disconnect;
};

class HttpServer {
 public:
  using Handler = std::function<void(const HttpRequest&, const std::shared_ptr<Exchange>&)>;
  // Binds at once; Error when the address is taken. Port 0 picks a free one.
  HttpServer(const HttpOptions& options, Handler handler);
  ~HttpServer();
  int port() const;
  // Serves until stop() was called or `should_stop` (asked ten times a second) says so, and answers in work are done;
  // until then requests that come are answered 503.
  void run(const std::function<bool()>& should_stop = {});
  void stop();  // from any thread

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace puyu
