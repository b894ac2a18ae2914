// Alerts for people: one line of JSON sent by HTTP POST to a URL, from a thread of its own so that training does not
// wait. A receiver that does not answer costs a warning in the log, never the run. Plain HTTP only: a chat service
// behind HTTPS needs a relay on the local network.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/json.h"

namespace puyu {

struct HttpUrl {
  std::string host, port, path;
};
// "http://host[:port][/path]"; Error for anything else.
HttpUrl parse_http_url(const std::string& url);
// Sends `body` as application/json. Error when there is no answer within `seconds` or its status is not 2xx.
void http_post(const HttpUrl& url, const std::string& body, double seconds);

class Webhook {
 public:
  explicit Webhook(const std::string& url);  // "": nothing is sent
  ~Webhook();                                // sends what is left, for a few seconds
  Webhook(const Webhook&) = delete;
  Webhook& operator=(const Webhook&) = delete;
  void send(const Json& alert);  // at most a hundred wait; later ones are dropped, and the log says so

 private:
  std::optional<std::string> next();
  void work();
  HttpUrl url_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> queue_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace puyu
