// An HTTP/1.1 client for load, evaluation and tests: any number of requests at once on the thread that calls run(),
// their answers whole or as server-sent events. One connection a request, and nothing is tried again: what that means
// is the caller's to say. Knows nothing of models. No TLS: a proxy beside it speaks that (docs/serving.md).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace puyu {

struct Url {
  std::string host;
  int port = 80;
  std::string path;  // "/v1", or empty; no "/" at its end
  std::string base() const;
};
// "http://host[:port][/path]"; Error for anything else.
Url parse_url(const std::string& url);

struct ClientOptions {
  double connect_seconds = 10;
  double timeout_seconds = 600;  // without a byte from the server
  int64_t max_body_bytes = int64_t{256} << 20;
};

struct ClientRequest {
  std::string method = "POST", target, body;  // target: the whole path
  std::vector<std::pair<std::string, std::string>> headers;
};
struct ClientReply {
  int status = 0;
  std::string body;         // empty for a stream of events
  double retry_after = -1;  // the header's seconds; -1: none
  std::string error;        // what went wrong below HTTP; empty: the answer is whole
};

class HttpClient {
 public:
  using OnReply = std::function<void(ClientReply)>;
  using OnEvent = std::function<void(const std::string& data)>;
  // Resolves the host: Error when it has no address.
  explicit HttpClient(const Url& url, const ClientOptions& options = {});
  ~HttpClient();
  // on_event: for answers of type text/event-stream with status 200. on_reply comes once, last. What these throw leaves
  // run(), and the client is of no further use.
  void send(ClientRequest request, OnReply on_reply, OnEvent on_event = {});
  void after(double seconds, std::function<void()> f);
  // Until no request and no after() is left. When `should_stop` (asked ten times a second) says so, connections are
  // closed, their replies are the error "interrupted", and what waits in after() is dropped.
  void run(const std::function<bool()>& should_stop = {});
  // One request, waited for.
  ClientReply call(ClientRequest request, const std::function<bool()>& should_stop = {});

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// {"Authorization": "Bearer KEY", "Content-Type": "application/json"}; without a key no Authorization.
std::vector<std::pair<std::string, std::string>> json_headers(const std::string& api_key);
// What a reply that is no success says, for people: "429: the queue is full", "connect: Connection refused".
std::string what_went_wrong(const ClientReply& reply);

}  // namespace puyu
