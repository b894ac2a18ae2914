#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "base/rng.h"

namespace puyu {
namespace {

using Work = Scheduler::Work;

std::vector<int64_t> flat(const std::vector<Work>& work) {  // id, begin, end, samples, id, ...
  std::vector<int64_t> out;
  for (const Work& w : work) out.insert(out.end(), {w.id, w.begin, w.end, w.samples});
  return out;
}

TEST(PageAllocator, CountsReferences) {
  PageAllocator pages(2);
  const int32_t a = pages.allocate(), b = pages.allocate();
  EXPECT_NE(a, b);
  EXPECT_EQ(pages.free_pages(), 0);
  pages.retain(a);
  pages.release(a);
  EXPECT_EQ(pages.free_pages(), 0);
  pages.release(a);
  EXPECT_EQ(pages.free_pages(), 1);
  EXPECT_EQ(pages.allocate(), a);  // what was used last is used first
}

TEST(Scheduler, PrefillsInChunksAndDecodesFirst) {
  Scheduler s({2, 10, 100});
  s.add(1, 25);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 0, 10, 0}));
  s.add(2, 3);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 10, 20, 0}));  // the whole budget is promised to 1
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 20, 25, 1, 2, 0, 3, 1}));
  s.extend(1), s.extend(2);
  s.add(3, 4);  // no place in the batch
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 25, 26, 1, 2, 3, 4, 1}));
  s.remove(1), s.extend(2);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{2, 4, 5, 1, 3, 0, 4, 1}));
  s.remove(2), s.remove(3);
  EXPECT_TRUE(s.plan().empty());
  EXPECT_EQ(s.free_pages(), 100);
}

TEST(Scheduler, AdmitsInOrderWhenPagesSuffice) {
  Scheduler s({8, 1000, 4});
  s.add(1, 2 * kPage);
  s.add(2, 3 * kPage);  // 2 pages are free: waits
  s.add(3, 1);          // would fit, but does not overtake
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 0, 2 * kPage, 1}));
  EXPECT_EQ(s.waiting(), 2);
  s.remove(1);
  EXPECT_EQ(s.plan().size(), 1u);  // 2 alone: 3 pages + its spare
  EXPECT_EQ(s.waiting(), 1);
}

TEST(Scheduler, PreemptsTheYoungestAndComputesItAgain) {
  Scheduler s({8, 1000, 3});
  s.add(1, kPage);
  s.add(2, kPage - 1);
  EXPECT_EQ(s.plan().size(), 2u);
  s.extend(1), s.extend(2);  // 1 needs a second page: the last one
  EXPECT_EQ(s.plan().size(), 2u);
  s.extend(1), s.extend(2);  // 2 needs a second page: none, it is the youngest itself
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, kPage + 1, kPage + 2, 1}));
  EXPECT_EQ(s.preemptions(), 1);
  EXPECT_EQ(s.free_pages(), 1);
  s.remove(1);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{2, 0, kPage + 1, 1}));
}

TEST(Scheduler, AbortFreesPagesAtOnce) {
  Scheduler s({8, 64, 10});
  s.add(1, 300);
  s.add(2, 600);
  s.plan();
  EXPECT_EQ(s.free_pages(), 5);
  s.remove(1);  // in the middle of its prefill
  EXPECT_EQ(s.free_pages(), 10);
  s.remove(2);  // still waiting
  EXPECT_TRUE(s.plan().empty());
}

TEST(Scheduler, RefusesImpossibleLimits) {
  EXPECT_THROW(Scheduler({8, 4, 10}), Error);
  EXPECT_THROW(Scheduler({0, 4, 10}), Error);
}

// Whatever comes: every sequence's tokens are computed in order, exactly once between preemptions, no page has two
// owners, the budget holds, and everything ends.
TEST(Scheduler, RandomTrafficKeepsTheRules) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    const SchedulerLimits limits{1 + static_cast<int64_t>(rng.below(6)), 6 + static_cast<int64_t>(rng.below(100)), 8};
    Scheduler s(limits);
    struct State {
      int64_t tokens, computed, left;
    };
    std::map<int64_t, State> live;
    int64_t next = 0, steps = 0;
    while (next < 30 || !live.empty()) {
      ASSERT_LT(++steps, 20000) << "no progress with seed " << seed;
      if (next < 30 && rng.below(3) == 0) {
        const auto n = 1 + static_cast<int64_t>(rng.below(300));
        s.add(next, n);
        live[next++] = {n, 0, 1 + static_cast<int64_t>(rng.below(200))};
      }
      const auto work = s.plan();
      int64_t total = 0;
      std::map<int32_t, int64_t> owner;
      for (const Work& w : work) {
        State& st = live.at(w.id);
        ASSERT_TRUE(w.begin == st.computed || w.begin == 0);
        ASSERT_LT(w.begin, w.end);
        st.computed = w.end, total += w.end - w.begin;
        ASSERT_EQ(w.samples, w.end == st.tokens);
        ASSERT_GE(static_cast<int64_t>(s.pages(w.id).size()) * kPage, w.end);
        for (int32_t p : s.pages(w.id)) ASSERT_TRUE(owner.emplace(p, w.id).second) << "page " << p << " is shared";
      }
      ASSERT_LE(total, limits.max_tokens_per_step);
      ASSERT_LE(s.running(), limits.max_batch);
      for (const Work& w : work) {
        State& st = live.at(w.id);
        if (!w.samples) continue;
        st.tokens++, s.extend(w.id);
        if (--st.left == 0 || rng.below(60) == 0 || st.tokens == 8 * kPage) s.remove(w.id), live.erase(w.id);
      }
    }
    EXPECT_EQ(s.free_pages(), 8);
  }
}

}  // namespace
}  // namespace puyu
