// One HTTP request on its way through the server's threads: from the transport's to a worker, from there to the
// engine's.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "serve/http.h"
#include "serve/metrics.h"

namespace puyu {

struct Call {
  void reply(HttpReply r) const { exchange->reply(std::move(r)); }

  std::shared_ptr<Exchange> exchange;
  std::string key;  // with which it came, where the server has several
  Metrics::Clock::time_point arrival = Metrics::Clock::now();
  struct Client {  // of its own, for the exchange holds it too
    std::atomic<bool> gone{false};
    std::vector<int64_t> ids;  // its sequences; the engine's thread only
  };
  std::shared_ptr<Client> client = std::make_shared<Client>();
};

}  // namespace puyu
