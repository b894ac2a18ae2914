#include "serve/places.h"

#include <gtest/gtest.h>

#include "serve/fields.h"

namespace puyu {
namespace {

using std::chrono::seconds;

struct Refusal {
  int status = 0, retry_after = 0;
};
Refusal refusal(Places& p, int64_t n) {
  try {
    p.take(n);
  } catch (const ApiError& e) { return {e.status, e.retry_after}; }
  return {};
}

TEST(Places, AreCountedAndComeBack) {
  Places p(4);
  auto a = p.take(3);
  EXPECT_EQ(p.taken(), 3);
  EXPECT_EQ(refusal(p, 2).status, 429);
  EXPECT_EQ(refusal(p, 5).status, 400) << "it could never run";
  auto b = p.take(1);
  auto same = b;
  b.reset();
  EXPECT_EQ(p.taken(), 4);
  same.reset(), a.reset();
  EXPECT_EQ(p.taken(), 0);
  EXPECT_EQ(refusal(p, 4).status, 0);
  Places none(0);
  EXPECT_EQ(refusal(none, 1).status, 429);
}

TEST(Places, SayWhenToComeAgainFromTheRateOfEnds) {
  Places::Clock::time_point now = {};
  Places p(100, [&] { return now; });
  std::vector<std::shared_ptr<void>> held;
  now += seconds(1000);  // idle before: does not count
  for (int i = 0; i < 100; ++i) held.push_back(p.take(1));
  EXPECT_EQ(refusal(p, 1).retry_after, 1);
  now += seconds(30);
  EXPECT_EQ(refusal(p, 1).retry_after, 30) << "nothing has ended in 30 seconds";
  EXPECT_EQ(refusal(p, 100).retry_after, 3000);
  for (int i = 0; i < 10; ++i) {  // one every 2 seconds
    now += seconds(2);
    held.erase(held.begin());
    held.push_back(p.take(1));
  }
  EXPECT_EQ(refusal(p, 10).retry_after, 50) << "10 ended in 50 seconds";
  for (int i = 0; i < 200; ++i) {
    now += seconds(2);
    held.erase(held.begin());
    held.push_back(p.take(1));
  }
  EXPECT_EQ(refusal(p, 10).retry_after, 20) << "the rate of late";
  now += seconds(126);  // and then nothing: 63 ends in twice the time
  EXPECT_EQ(refusal(p, 10).retry_after, 40);
}

}  // namespace
}  // namespace puyu
