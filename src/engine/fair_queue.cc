#include "engine/fair_queue.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace puyu {

FairQueue::Order FairQueue::order(int64_t id) const {
  const Entry& e = entries_.at(id);
  return {e.arrival + e.claim.priority * ageing_, id};
}

void FairQueue::enter(int64_t id, Claim claim) {
  CHECK(claim.priority >= -kMaxPriority && claim.priority <= kMaxPriority && !entries_.contains(id));
  Client& c = clients_[claim.client];
  if (c.live++ == 0) ++live_clients_, c.served = std::max(c.served, time_);
  entries_[id] = {claim, time_};
  put_back(id);
}

void FairQueue::take(int64_t id) { waiting_ -= clients_.at(entries_.at(id).claim.client).waiting.erase(order(id)); }

void FairQueue::put_back(int64_t id) {
  clients_.at(entries_.at(id).claim.client).waiting.insert(order(id));
  ++waiting_;
}

void FairQueue::leave(int64_t id) {
  take(id);
  Client& c = clients_.at(entries_.at(id).claim.client);
  entries_.erase(id);
  if (--c.live == 0) --live_clients_, forget();
}

// A client that has had less than the virtual time owes nobody anything.
void FairQueue::forget() {
  if (live_clients_ == 0)
    clients_.clear();
  else
    std::erase_if(clients_, [&](const auto& c) { return c.second.live == 0 && c.second.served <= time_; });
}

void FairQueue::serve(int64_t id, int64_t tokens) {
  const auto n = static_cast<double>(tokens);
  clients_.at(entries_.at(id).claim.client).served += n;
  time_ += n / static_cast<double>(live_clients_);
}

int64_t FairQueue::first() const {
  std::tuple<double, double, int64_t> best;
  int64_t out = -1;
  for (const auto& [name, c] : clients_) {
    if (c.waiting.empty()) continue;
    const auto [due, id] = *c.waiting.begin();
    const std::tuple key{due + std::max(0.0, c.served - entries_.at(id).arrival), due, id};
    if (out < 0 || key < best) best = key, out = id;
  }
  CHECK(out >= 0);
  return out;
}

}  // namespace puyu
