// Which tokens of which requests run in the next step. Decisions only: no model, no tensors, so each rule is a test.
//
// A step is a budget of tokens. Running sequences that need one token (decode) go first, so answers keep flowing; what
// is left of the budget prefills, in order of arrival, in chunks. A waiting sequence is admitted when there is a place
// in the batch and pages for all its tokens. When a running sequence needs a page and none is free, the youngest one
// gives up its pages, waits at the head of the queue, and is computed again later: cheaper than swapping, and since a
// sequence's bits do not depend on chunking, nobody can tell.
#pragma once
#include <deque>
#include <unordered_map>
#include <vector>

#include "engine/kv_pages.h"

namespace puyu {

struct SchedulerLimits {
  int64_t max_batch = 64;             // sequences in a step
  int64_t max_tokens_per_step = 512;  // at least max_batch, so that every decode fits
  int64_t pages = 1024;
};

class Scheduler {
 public:
  // Tokens [begin, end) of sequence `id` run in this step; `samples`: end is its last token, so a new one follows.
  struct Work {
    int64_t id, begin, end;
    bool samples;
  };

  explicit Scheduler(const SchedulerLimits& limits);
  // A new sequence of this many tokens, which must fit in the cache alone.
  void add(int64_t id, int64_t tokens);
  // The next step; whoever asks must run it. Empty when nothing is left to do.
  std::vector<Work> plan();
  void extend(int64_t id);  // a token was sampled for it
  void remove(int64_t id);  // finished or aborted: its pages are free at once
  const std::vector<int32_t>& pages(int64_t id) const { return seqs_.at(id).pages; }

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t free_pages() const { return pages_.free_pages(); }
  int64_t preemptions() const { return preemptions_; }

 private:
  struct Sequence {
    int64_t tokens = 0, computed = 0;  // known; of them in pages
    std::vector<int32_t> pages;
  };
  bool grow(int64_t id);
  void preempt_youngest();
  void admit(int64_t budget);
  void release(Sequence& s);
  Work run(int64_t id, int64_t tokens);

  SchedulerLimits limits_;
  PageAllocator pages_;
  std::unordered_map<int64_t, Sequence> seqs_;
  std::deque<int64_t> waiting_;
  std::vector<int64_t> running_;  // oldest first
  int64_t preemptions_ = 0;
};

}  // namespace puyu
