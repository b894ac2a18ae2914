// Which tokens of which requests run in the next step. Decisions only: no model, no tensors, so each rule is a test.
//
// A step is a budget of tokens. Running sequences that need one token (decode) go first, so answers keep flowing; what
// is left of the budget prefills in chunks, by class and arrival. Who waits is admitted in the order of fair_queue.h
// when there is a place in the batch and pages for all its tokens; nobody who would fit overtakes. When a running
// sequence needs a page and none is free, the last by class and arrival gives up its pages, waits again, and is
// computed again later: cheaper than swapping, and since a sequence's bits do not depend on chunking, nobody can tell.
// So does a sequence of a lower class when one of a higher class waits and cannot be admitted. Pages of computed tokens
// stay in the prefix cache as long as nobody needs them: a prompt that begins like an earlier one, or one that was
// preempted, starts after what is known.
#pragma once
#include <unordered_map>
#include <vector>

#include "engine/fair_queue.h"
#include "engine/prefix_cache.h"

namespace puyu {

struct SchedulerLimits {
  int64_t max_batch = 64;             // sequences in a step
  int64_t max_tokens_per_step = 512;  // at least max_batch, so that every decode fits
  int64_t pages = 1024;
  bool prefix_cache = true;
  int64_t ageing_tokens = 32768;  // head start of a class (fair_queue.h)
};

class Scheduler {
 public:
  // Tokens [begin, end) of sequence `id` run in this step; `samples`: end is its last token, so a new one follows. The
  // last `drafts` of them are guesses: the logits of the token before each tell whether it was right.
  struct Work {
    int64_t id, begin, end;
    bool samples;
    int64_t drafts = 0;
  };

  explicit Scheduler(const SchedulerLimits& limits);
  // A new sequence, which must fit in the cache alone. Prefixes are shared within a domain (prefix_cache.h). Without
  // `reuse` all its tokens are computed, though others may have done so.
  void add(int64_t id, std::vector<int32_t> tokens, uint64_t domain = 0, bool reuse = true, Claim claim = {});
  // The next step; whoever asks must first carry out copies(), in their order, and then run it. Empty when nothing is
  // left to do.
  std::vector<Work> plan();
  struct Copy {
    int32_t from, to;  // pages
  };
  const std::vector<Copy>& copies() const { return copies_; }
  void undo(const std::vector<Work>& work);  // it failed: its tokens are not in the pages

  // Sequences whose next step computes one token: those for which guesses are worth having.
  std::vector<int64_t> decoding() const;
  // Guesses at what follows; the next step runs them too, if budget and pages allow.
  void draft(int64_t id, std::span<const int32_t> guesses);
  // A token was sampled for it, after drafts once for each that was right and once more: the first that differs takes
  // the place of the rest.
  void extend(int64_t id, int32_t token);
  void remove(int64_t id);  // finished or aborted: its pages are free at once
  const std::vector<int32_t>& pages(int64_t id) const { return seqs_.at(id).pages; }
  // Its prompt and what was sampled …
  std::span<const int32_t> tokens(int64_t id) const {
    const Sequence& s = seqs_.at(id);
    return std::span(s.tokens).first(s.tokens.size() - static_cast<size_t>(s.drafts));
  }
  // … and the guesses that are in work.
  const std::vector<int32_t>& with_drafts(int64_t id) const { return seqs_.at(id).tokens; }
  int64_t reused(int64_t id) const { return seqs_.at(id).reused; }  // tokens found in the cache when it was admitted
  void clear_cache() { cache_.clear(); }

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return queue_.waiting(); }
  int64_t free_pages() const {
    return pages_.available();
  }  // those of the prefix cache count: they are given up on demand
  int64_t total_pages() const { return pages_.total(); }
  int64_t preemptions() const { return preemptions_; }
  int64_t admitted_tokens() const { return admitted_tokens_; }  // of them …
  int64_t reused_tokens() const { return reused_tokens_; }      // … found in the cache

 private:
  struct Sequence {
    std::vector<int32_t> tokens, pages;
    uint64_t domain = 0;
    bool reuse = true;
    int64_t drafts = 0;                   // the last tokens are guesses
    int64_t computed = 0, published = 0;  // tokens that are in pages; full pages that are in the cache
    int64_t reused = -1;
    int64_t charged = 0;  // tokens that its client was charged for: what is computed again is nobody's fault
    int64_t left() const { return static_cast<int64_t>(tokens.size()) - computed; }
    int64_t needs() const { return pages_for(static_cast<int64_t>(tokens.size())); }
  };
  bool grow(int64_t id);
  static void drop_drafts(Sequence& s);
  void preempt_last();
  void make_room();
  void admit(int64_t budget);
  bool seat(Sequence& s);
  void publish(Sequence& s);
  void release(Sequence& s);
  Work run(int64_t id, int64_t tokens);

  SchedulerLimits limits_;
  PageAllocator pages_;
  PrefixCache cache_;
  std::unordered_map<int64_t, Sequence> seqs_;
  FairQueue queue_;
  std::vector<int64_t> running_;  // who gives way last stands first
  std::vector<Copy> copies_;
  int64_t preemptions_ = 0, admitted_tokens_ = 0, reused_tokens_ = 0;
};

}  // namespace puyu
