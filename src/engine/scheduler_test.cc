#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ranges>
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

// Tokens that no other sequence has.
std::vector<int32_t> fresh(int64_t n) {
  static int32_t next = 0;
  std::vector<int32_t> out(static_cast<size_t>(n));
  for (int32_t& t : out) t = next++;
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
  s.add(1, fresh(25));
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 0, 10, 0}));
  s.add(2, fresh(3));
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 10, 20, 0}));  // the whole budget is promised to 1
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 20, 25, 1, 2, 0, 3, 1}));
  s.extend(1, 7), s.extend(2, 7);
  s.add(3, fresh(4));  // no place in the batch
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 25, 26, 1, 2, 3, 4, 1}));
  s.remove(1), s.extend(2, 7);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{2, 4, 5, 1, 3, 0, 4, 1}));
  s.remove(2), s.remove(3);
  EXPECT_TRUE(s.plan().empty());
  EXPECT_EQ(s.free_pages(), 100);
}

TEST(Scheduler, AdmitsInOrderWhenPagesSuffice) {
  Scheduler s({8, 1000, 4});
  s.add(1, fresh(2 * kPage));
  s.add(2, fresh(3 * kPage));  // 2 pages are free: waits
  s.add(3, fresh(1));          // would fit, but does not overtake
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 0, 2 * kPage, 1}));
  EXPECT_EQ(s.waiting(), 2);
  s.remove(1);
  EXPECT_EQ(s.plan().size(), 1u);  // 2 alone: 3 pages + its spare
  EXPECT_EQ(s.waiting(), 1);
}

TEST(Scheduler, PreemptsTheYoungestAndKeepsWhatNobodyNeeded) {
  Scheduler s({8, 1000, 3});
  s.add(1, fresh(kPage));
  s.add(2, fresh(kPage - 1));
  EXPECT_EQ(s.plan().size(), 2u);
  s.extend(1, 7), s.extend(2, 7);  // 1 needs a second page: the last one
  EXPECT_EQ(s.plan().size(), 2u);
  s.extend(1, 7), s.extend(2, 7);  // 2 needs a second page: none, it is the youngest itself
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, kPage + 1, kPage + 2, 1}));
  EXPECT_EQ(s.preemptions(), 1);
  EXPECT_EQ(s.free_pages(), 1);
  s.remove(1);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{2, kPage, kPage + 1, 1}));
}

TEST(Scheduler, AbortFreesPagesAtOnce) {
  Scheduler s({8, 64, 10});
  s.add(1, fresh(300));
  s.add(2, fresh(600));
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

TEST(Scheduler, PromptsThatBeginAlikeStartAfterWhatIsKnown) {
  Scheduler s({8, 1000, 20});
  const auto a = fresh(3 * kPage);
  s.add(1, a);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 0, 3 * kPage, 1}));
  s.extend(1, 7);
  s.add(2, a);  // all of it is known but the last token, whose logits are wanted
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 3 * kPage, 3 * kPage + 1, 1, 2, 3 * kPage - 1, 3 * kPage, 1}));
  EXPECT_EQ(s.reused(2), 3 * kPage - 1);
  EXPECT_EQ(s.pages(1)[1], s.pages(2)[1]);
  ASSERT_EQ(s.copies().size(), 1u);
  EXPECT_EQ(s.copies()[0].from, s.pages(1)[2]);
  EXPECT_EQ(s.copies()[0].to, s.pages(2)[2]);
  EXPECT_EQ(s.free_pages(), 20 - 4 - 1);
  s.add(3, a, 1);  // another domain
  EXPECT_EQ(s.plan()[0].begin, 0);
  s.remove(1), s.remove(2), s.remove(3);
  EXPECT_EQ(s.free_pages(), 20);
  auto b = std::vector<int32_t>(a.begin(), a.begin() + kPage + 20);
  b.push_back(-1), b.push_back(-2);
  s.add(4, b);
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{4, kPage + 20, kPage + 22, 1}));
  s.clear_cache();
  s.remove(4);
  s.clear_cache();
  s.add(5, b);
  EXPECT_EQ(s.plan()[0].begin, 0);
}

TEST(Scheduler, ShortPartialAgreementIsNotWorthACopy) {
  Scheduler s({8, 1000, 20});
  const auto a = fresh(30);
  s.add(1, a), s.plan(), s.remove(1);
  for (int64_t same : {7, 8, 29}) {
    std::vector<int32_t> b(a.begin(), a.begin() + same);
    b.push_back(-1), b.push_back(-2);
    s.add(2, b);
    EXPECT_EQ(s.plan()[0].begin, same < 8 ? 0 : same) << same;
    s.remove(2);
  }
}

TEST(Scheduler, FailedWorkIsNotKept) {
  Scheduler s({8, 1000, 20});
  const auto a = fresh(3 * kPage);
  s.add(1, a);
  s.undo(s.plan());
  s.remove(1);
  s.add(2, a);
  EXPECT_EQ(s.plan()[0].begin, 0);
}

TEST(Scheduler, TheLeastRecentlyUsedPagesAreGivenUpFirst) {
  Scheduler s({8, 1000, 4});
  const auto a = fresh(2 * kPage), b = fresh(2 * kPage), c = fresh(kPage);
  s.add(1, a), s.plan(), s.remove(1);
  s.add(2, b), s.plan(), s.remove(2);
  s.add(3, a), s.plan(), s.remove(3);  // a is the younger one now; its copy took the end of b
  s.add(4, c), s.plan(), s.remove(4);
  s.add(5, a);
  EXPECT_EQ(s.plan()[0].begin, 2 * kPage - 1);
}

TEST(Scheduler, LowerClassesGiveWayToHigherOnes) {
  Scheduler s({2, 1000, 8});
  s.add(1, fresh(kPage), 0, true, {0, 1});
  s.add(2, fresh(kPage), 0, true, {1, 1});
  EXPECT_EQ(s.plan().size(), 2u);
  s.extend(1, 7), s.extend(2, 7);
  s.add(3, fresh(10), 0, true, {0, 1});  // no place: 2 gives way, and waits behind nobody else
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, kPage, kPage + 1, 1, 3, 0, 10, 1}));
  EXPECT_EQ(s.preemptions(), 1);
  s.extend(1, 7), s.extend(3, 7);
  s.add(4, fresh(7 * kPage), 0, true, {-1, 1});  // pages for all but 1 or 3: both give way
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{4, 0, 7 * kPage, 1}));
  EXPECT_EQ(s.preemptions(), 3);
  s.add(5, fresh(1), 0, true, {-1, 1});  // of the same class: waits
  s.extend(4, 7);
  s.plan();
  EXPECT_EQ(s.preemptions(), 3);
  for (int64_t id : {1, 2, 3, 4, 5}) s.remove(id);
  EXPECT_EQ(s.free_pages(), 8);
}

TEST(Scheduler, AHigherClassGoesBeforeAPrefillInWork) {
  Scheduler s({4, 10, 100});
  s.add(1, fresh(50));
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{1, 0, 10, 0}));
  s.add(2, fresh(4), 0, true, {-1, 0});
  EXPECT_EQ(flat(s.plan()), (std::vector<int64_t>{2, 0, 4, 1, 1, 10, 16, 0}));
}

TEST(Scheduler, OneClientsThousandRequestsDoNotStarveAnother) {
  Scheduler s({4, 100, 64});
  for (int64_t id = 0; id < 1000; ++id) s.add(id, fresh(40), 0, true, {0, 1});
  int64_t steps = 0, ended = 0, before_last = 0;
  std::map<int64_t, int> left;
  std::set<int64_t> open = {2000, 2001, 2002, 2003};
  while (!open.empty()) {
    ASSERT_LT(++steps, 500);
    if (steps == 50)
      for (int64_t id : open) s.add(id, fresh(40), 0, true, {0, 2});
    for (const Work& w : s.plan())
      if (w.samples) {
        s.extend(w.id, 7);
        if (left.emplace(w.id, 10).first->second-- > 0) continue;
        s.remove(w.id), ++ended;
        if (open.erase(w.id)) before_last = ended;
        if (steps < 50) before_last = ended;
      }
  }
  EXPECT_LT(before_last, 1000 / 4);
}

// Whatever comes: every sequence's tokens are computed in order, exactly once between preemptions, the budget holds,
// what a sequence reads is what its own tokens put there though pages are shared, copied and given up, and everything
// ends.
TEST(Scheduler, RandomTrafficKeepsTheRules) {
  int64_t reused = 0, preemptions = 0, guessed = 0, right = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed);
    SchedulerLimits limits{1 + static_cast<int64_t>(rng.below(6)), 6 + static_cast<int64_t>(rng.below(100)), 8};
    limits.prefix_cache = seed % 4 != 0;
    limits.ageing_tokens = static_cast<int64_t>(rng.below(2000));
    Scheduler s(limits);
    struct State {
      int64_t computed, left;
      uint64_t domain;
    };
    std::map<int64_t, State> live;
    uint64_t content[8][kPage] = {};  // of each place the hash of all tokens up to it, its domain included
    auto hashes = [&](int64_t id) {
      std::vector<uint64_t> out;
      uint64_t h = live.at(id).domain;
      for (int32_t t : s.with_drafts(id)) out.push_back(h = (h + static_cast<uint64_t>(t) + 1) * 0x9E3779B97F4A7C15u);
      return out;
    };
    int64_t next = 0, steps = 0;
    while (next < 30 || !live.empty()) {
      ASSERT_LT(++steps, 20000) << "no progress with seed " << seed;
      if (next < 30 && rng.below(3) == 0) {
        // A few families of prompts that begin alike: token i of family f is i / 50 + f before they part.
        const auto n = 1 + static_cast<int64_t>(rng.below(300)), part = static_cast<int64_t>(rng.below(300));
        const auto family = static_cast<int32_t>(rng.below(2));
        std::vector<int32_t> tokens;
        for (int64_t i = 0; i < n; ++i)
          tokens.push_back(i < part ? static_cast<int32_t>(i / 50) + family : static_cast<int32_t>(rng.below(3)));
        live[next] = {0, 1 + static_cast<int64_t>(rng.below(200)), rng.below(2)};
        const Claim claim = {static_cast<int>(rng.below(7)) - 3, rng.below(3)};
        s.add(next, tokens, live[next].domain, true, seed % 2 == 0 ? Claim{} : claim);
        ++next;
      }
      if (seed % 3 == 0)
        for (int64_t id : s.decoding()) {  // tokens are 0 or 1, so some guesses are right
          std::vector<int32_t> guesses;
          for (uint64_t n = rng.below(5); n > 0; --n) guesses.push_back(static_cast<int32_t>(rng.below(2)));
          s.draft(id, guesses);
        }
      const int64_t before_plan = s.preemptions();
      const auto work = s.plan();
      const bool preempted = s.preemptions() > before_plan;  // and perhaps admitted again, with what others computed
      for (int64_t id : std::views::keys(live))
        if (s.pages(id).empty()) live.at(id).computed = 0;
      for (auto [from, to] : s.copies()) std::copy_n(content[from], kPage, content[to]);
      int64_t total = 0;
      std::map<int32_t, int64_t> writer;
      for (const Work& w : work) {
        State& st = live.at(w.id);
        ASSERT_LT(w.begin, w.end);
        ASSERT_TRUE(w.begin == st.computed || st.computed == 0 || preempted) << "skipped a token or did it again";
        ASSERT_TRUE(limits.prefix_cache || w.begin == st.computed || w.begin == 0);
        const auto n = static_cast<int64_t>(s.with_drafts(w.id).size());
        const std::vector<uint64_t> want = hashes(w.id);
        for (int64_t p = 0; p < w.end; ++p) {
          const int32_t page = s.pages(w.id).at(static_cast<size_t>(p / kPage));
          uint64_t& at = content[page][p % kPage];
          if (p < w.begin) {
            ASSERT_EQ(at, want[static_cast<size_t>(p)]) << "seed " << seed << ", sequence " << w.id << ", token " << p;
          } else {
            at = want[static_cast<size_t>(p)];
            ASSERT_EQ(writer.emplace(page, w.id).first->second, w.id) << "two write page " << page;
          }
        }
        st.computed = w.end - w.drafts, total += w.end - w.begin;
        ASSERT_EQ(w.samples, w.end == n);
      }
      ASSERT_LE(total, limits.max_tokens_per_step);
      ASSERT_LE(s.running(), limits.max_batch);
      for (const Work& w : work) {
        State& st = live.at(w.id);
        if (!w.samples) continue;
        const std::vector<int32_t> before(s.tokens(w.id).begin(), s.tokens(w.id).end());
        guessed += w.drafts;
        for (int64_t k = 0; k <= w.drafts; ++k) {
          const auto token = static_cast<int32_t>(rng.below(2));
          const size_t at = before.size() + static_cast<size_t>(k);
          const bool same = k < w.drafts && s.with_drafts(w.id).at(at) == token;
          s.extend(w.id, token);
          ASSERT_EQ(s.tokens(w.id).size(), at + 1);
          ASSERT_EQ(s.tokens(w.id).back(), token);
          st.computed = static_cast<int64_t>(at), right += same;
          if (--st.left == 0 || rng.below(60) == 0 || s.tokens(w.id).size() == 8 * kPage) {
            s.remove(w.id), live.erase(w.id);
            break;
          }
          if (!same) break;
        }
      }
      if (!live.empty() && rng.below(100) == 0) {  // aborted wherever it stands
        const auto it = std::next(live.begin(), static_cast<int64_t>(rng.below(live.size())));
        s.remove(it->first), live.erase(it);
      }
    }
    EXPECT_EQ(s.free_pages(), 8);
    reused += s.reused_tokens(), preemptions += s.preemptions();
  }
  EXPECT_GT(reused, 5000);
  EXPECT_GT(preemptions, 30);
  EXPECT_GT(guessed, 1000);
  EXPECT_GT(right, 300);
}

}  // namespace
}  // namespace puyu
