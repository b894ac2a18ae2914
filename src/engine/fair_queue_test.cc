// The queue's rules with the bounds that fair_queue.h promises; requests here are computed whole when their turn comes.
#include "engine/fair_queue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace puyu {
namespace {

// Takes who is next, computes `cost` tokens for it and lets it go.
int64_t turn(FairQueue& q, int64_t cost) {
  const int64_t id = q.first();
  q.take(id), q.serve(id, cost), q.leave(id);
  return id;
}

TEST(FairQueue, FirstComeFirstServedInsideAClass) {
  FairQueue q(1000);
  for (int64_t id : {0, 1, 2, 3, 4, 5}) q.enter(id, {id % 2 == 0 ? 0 : -1, 7});
  std::vector<int64_t> order;
  while (q.waiting() > 0) order.push_back(turn(q, 10));
  EXPECT_EQ(order, (std::vector<int64_t>{1, 3, 5, 0, 2, 4}));
}

TEST(FairQueue, WhoGaveUpItsPlaceStandsWhereItStood) {
  FairQueue q(1000);
  for (int64_t id : {0, 1, 2}) q.enter(id, {});
  q.take(0), q.serve(0, 5), q.take(1);
  EXPECT_EQ(q.first(), 2);
  q.put_back(0);
  EXPECT_EQ(q.first(), 0);
  q.put_back(1);
  EXPECT_EQ(q.first(), 0);
  q.leave(0);
  EXPECT_EQ(q.first(), 1);
  EXPECT_EQ(q.waiting(), 2);
}

TEST(FairQueue, AThousandRequestsOfOneClientHoldUpNobodyElse) {
  FairQueue q(1000);
  for (int64_t id = 0; id < 1000; ++id) q.enter(id, {0, 1});
  for (int i = 0; i < 300; ++i) turn(q, 50);
  for (int64_t id : {1000, 1001, 1002}) q.enter(id, {0, 2});
  q.enter(1003, {0, 3});
  std::vector<int64_t> others;
  for (int turns = 1; others.size() < 4; ++turns) {
    ASSERT_LE(turns, 8);  // every second turn, or better, is another's
    if (const int64_t id = turn(q, 50); id >= 1000) others.push_back(id);
  }
  EXPECT_EQ(others, (std::vector<int64_t>{1000, 1003, 1001, 1002}));
}

// While two clients both wait, the tokens computed for them since then differ by less than two requests' worth.
TEST(FairQueue, BusyClientsGetTheSame) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    FairQueue q(1000);
    std::vector<int64_t> cost;
    std::vector<double> got(4, 0);
    auto enter = [&](uint64_t client) {
      q.enter(static_cast<int64_t>(cost.size()), {0, client});
      cost.push_back(static_cast<int64_t>(client) * 1000 + 1 + static_cast<int64_t>(rng.below(100)));
    };
    for (uint64_t c = 0; c < 4; ++c)
      for (int i = 0; i < 30; ++i) enter(c);
    for (int turns = 0; turns < 2000; ++turns) {
      const auto id = static_cast<size_t>(q.first());
      const auto client = static_cast<uint64_t>(cost[id] / 1000);
      const int64_t tokens = cost[id] % 1000;
      enter(client);  // before its turn, so that nobody is ever away
      turn(q, tokens);
      got[client] += static_cast<double>(tokens);
      for (double a : got)
        for (double b : got) ASSERT_LT(std::abs(a - b), 2 * 100) << "seed " << seed << ", turn " << turns;
    }
  }
}

TEST(FairQueue, TheLowestClassWaitsNoLongerThanItsBound) {
  constexpr int64_t kAgeing = 100, kCost = 10;
  FairQueue q(kAgeing);
  int64_t next = 1;
  q.enter(0, {kMaxPriority, 9});
  for (int i = 0; i < 12; ++i) q.enter(next++, {-kMaxPriority, static_cast<uint64_t>(i % 4)});
  int64_t turns = 0;
  for (; turns < 10000; ++turns) {
    const int64_t id = turn(q, kCost);
    if (id == 0) break;
    q.enter(next++, {-kMaxPriority, static_cast<uint64_t>((id - 1) % 4)});  // an endless flood
  }
  // 20 classes are 20 * kAgeing tokens of virtual time, which advances by kCost / 5 clients a turn.
  EXPECT_LE(turns, 2 * kMaxPriority * kAgeing * 5 / kCost);
  EXPECT_GE(turns, 2 * kMaxPriority * kAgeing * 3 / kCost) << "a class should matter until then";
}

// New names do not jump the queue for ever: each starts at the virtual time.
TEST(FairQueue, AFloodOfNewClientsStarvesNobody) {
  FairQueue q(100);
  q.enter(0, {0, 0}), q.enter(1, {0, 0});
  turn(q, 1000);  // client 0 is 1000 tokens ahead of its share
  for (int64_t id = 2; id < 12; ++id) q.enter(id, {0, static_cast<uint64_t>(id)});
  int64_t turns = 0;
  for (int64_t next = 12; turns < 10000; ++turns, ++next) {
    if (turn(q, 10) == 1) break;
    q.enter(next, {0, static_cast<uint64_t>(next)});
  }
  EXPECT_LE(turns, 1000 * 11 / 10 + 11);
  EXPECT_LE(q.clients(), 12u + 1000u);
}

TEST(FairQueue, DebtsOutliveAbsenceAndNothingIsRememberedForEver) {
  FairQueue q(100);
  q.enter(0, {0, 1}), q.enter(1, {0, 2});
  EXPECT_EQ(turn(q, 500), 0);
  q.enter(2, {0, 1});  // back at once, but it has had its share
  EXPECT_EQ(turn(q, 10), 1);
  EXPECT_EQ(turn(q, 10), 2);
  EXPECT_EQ(q.clients(), 0u);  // nobody waits: all are equal again
  Rng rng(1);
  for (int64_t id = 10; id < 5000; ++id) {
    q.enter(id, {0, static_cast<uint64_t>(id)});
    while (q.waiting() > 8) turn(q, 1 + static_cast<int64_t>(rng.below(100)));
    ASSERT_LT(q.clients(), 100u);
  }
}

}  // namespace
}  // namespace puyu
