// Whose turn it is. Requests have a class (`priority`: lower goes first, as vLLM's) and a client, and wait for a place:
//
// - inside a class a client's requests go first come, first served;
// - clients take turns by the tokens that were computed for them (the virtual token counter of Sheng et al. 2024), so
//   one with a thousand requests holds up nobody else. Who was away gets no credit for it: a counter starts at the
//   common virtual time, which advances by tokens / clients with work;
// - a class is a head start of `ageing_tokens` of that time and not more, so what waits grows older than everything
//   that comes, and nothing starves.
//
// Decisions only, and no clock but the tokens computed: the same calls give the same order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

namespace puyu {

struct Claim {
  int priority = 0;  // -kMaxPriority to kMaxPriority; lower goes first
  uint64_t client = 0;
};
constexpr int kMaxPriority = 10;

class FairQueue {
 public:
  explicit FairQueue(int64_t ageing_tokens) : ageing_(static_cast<double>(ageing_tokens)) {}

  void enter(int64_t id, Claim claim);  // a new request, which waits
  void take(int64_t id);                // it has a place
  void put_back(int64_t id);            // it gave up its place and waits again, where it stood
  void leave(int64_t id);               // it ended, waiting or not
  void serve(int64_t id, int64_t tokens);

  int64_t waiting() const { return waiting_; }
  int64_t first() const;  // of those that wait; a programmer's error when nobody does
  int priority(int64_t id) const { return entries_.at(id).claim.priority; }
  // By class, ageing and arrival alone: of those that have places, who gives way is the last in this order.
  bool before(int64_t a, int64_t b) const { return order(a) < order(b); }
  double time() const { return time_; }               // virtual
  size_t clients() const { return clients_.size(); }  // that are remembered

 private:
  using Order = std::pair<double, int64_t>;  // due, id
  struct Entry {
    Claim claim;
    double arrival = 0;  // virtual time
  };
  struct Client {
    double served = 0;
    int64_t live = 0;
    std::set<Order> waiting;
  };
  Order order(int64_t id) const;
  void forget();

  double ageing_, time_ = 0;
  int64_t waiting_ = 0, live_clients_ = 0;
  std::unordered_map<int64_t, Entry> entries_;
  std::map<uint64_t, Client> clients_;
};

}  // namespace puyu
