#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace puyu {

Scheduler::Scheduler(const SchedulerLimits& limits)
    : limits_(limits), pages_(limits.pages), cache_(pages_), queue_(limits.ageing_tokens) {
  if (limits.ageing_tokens < 0) fail("[engine] ageing_tokens: expected 0 or more, got ", limits.ageing_tokens);
  if (limits.max_batch < 1 || limits.pages < 1 || limits.max_tokens_per_step < limits.max_batch)
    fail("[engine] expected max_batch >= 1, max_tokens_per_step >= max_batch and at least one page, got ",
         limits.max_batch, ", ", limits.max_tokens_per_step, " and ", limits.pages);
}

void Scheduler::add(int64_t id, std::vector<int32_t> tokens, uint64_t domain, bool reuse, Claim claim) {
  CHECK(!tokens.empty() && pages_for(static_cast<int64_t>(tokens.size())) <= limits_.pages && !seqs_.contains(id));
  Sequence& s = seqs_[id];
  s.tokens = std::move(tokens), s.domain = domain, s.reuse = reuse;
  queue_.enter(id, claim);
}

std::vector<Scheduler::Work> Scheduler::plan() {
  std::vector<Work> work;
  copies_.clear();
  make_room();
  for (int64_t id : running_) publish(seqs_.at(id));
  int64_t budget = limits_.max_tokens_per_step;
  const int64_t preemptions = preemptions_;
  auto others = static_cast<int64_t>(decoding().size());
  for (size_t i = 0; i < running_.size(); ++i) {  // grow() may shorten running_ behind i
    const int64_t id = running_[i];
    Sequence& s = seqs_.at(id);
    if (s.left() != 1 + s.drafts) continue;
    if (budget - 1 - s.drafts < --others) drop_drafts(s);  // everyone's next token comes before anyone's guesses
    if (!grow(id)) continue;
    const int64_t n = 1 + s.drafts;
    work.push_back(run(id, n)), budget -= n;
  }
  // What was preempted now would only take its pages back.
  if (preemptions == preemptions_) admit(budget);
  for (int64_t id : running_) {
    const int64_t n = std::min(budget, seqs_.at(id).left());
    if (n > 0) work.push_back(run(id, n)), budget -= n;
  }
  return work;
}

Scheduler::Work Scheduler::run(int64_t id, int64_t tokens) {
  Sequence& s = seqs_.at(id);
  s.computed += tokens;
  const bool samples = s.left() == 0;
  if (s.computed > s.charged) queue_.serve(id, s.computed - std::exchange(s.charged, s.computed));
  return {id, s.computed - tokens, s.computed, samples, samples ? s.drafts : 0};
}

void Scheduler::undo(const std::vector<Work>& work) {
  for (const Work& w : work) {
    Sequence& s = seqs_.at(w.id);
    s.computed = w.begin;
    drop_drafts(s);
  }
}

std::vector<int64_t> Scheduler::decoding() const {
  std::vector<int64_t> out;
  for (int64_t id : running_) {
    const Sequence& s = seqs_.at(id);
    if (s.left() == 1 + s.drafts) out.push_back(id);
  }
  return out;
}

void Scheduler::draft(int64_t id, std::span<const int32_t> guesses) {
  Sequence& s = seqs_.at(id);
  CHECK(s.drafts == 0 && s.left() == 1);
  s.tokens.insert(s.tokens.end(), guesses.begin(), guesses.end());
  s.drafts = static_cast<int64_t>(guesses.size());
}

void Scheduler::drop_drafts(Sequence& s) {
  s.tokens.resize(s.tokens.size() - static_cast<size_t>(s.drafts));
  s.drafts = 0;
  s.computed = std::min(s.computed, static_cast<int64_t>(s.tokens.size()));
}

// Pages for all tokens of a running sequence; false when it had to give up its own.
bool Scheduler::grow(int64_t id) {
  Sequence& s = seqs_.at(id);
  while (static_cast<int64_t>(s.pages.size()) < s.needs()) {
    if (s.drafts > 0 && pages_.available() <= running()) {  // nobody is to give way to guesses
      drop_drafts(s);
      continue;
    }
    if (pages_.available() > 0) {
      s.pages.push_back(cache_.allocate());
      continue;
    }
    const bool self = running_.back() == id;
    preempt_last();
    if (self) return false;
  }
  return true;
}

void Scheduler::preempt_last() {
  const int64_t id = running_.back();
  running_.pop_back();
  release(seqs_.at(id));
  queue_.put_back(id);
  ++preemptions_;
}

// Lower classes give way to who is next, if that gets it a place and pages.
void Scheduler::make_room() {
  if (queue_.waiting() == 0) return;
  const int64_t next = queue_.first();
  auto gives_way = [&](int64_t id) { return queue_.priority(id) > queue_.priority(next) && queue_.before(next, id); };
  const int64_t wanted = std::min(seqs_.at(next).needs() + 1, pages_.total());
  int64_t pages = pages_.available();
  size_t stay = running_.size();  // so many keep their places
  while (stay > 0 && gives_way(running_[stay - 1]) &&
         (pages < wanted || static_cast<int64_t>(stay) >= limits_.max_batch))
    pages += static_cast<int64_t>(seqs_.at(running_[--stay]).pages.size());
  if (pages < wanted || static_cast<int64_t>(stay) >= limits_.max_batch) return;  // it would not help
  while (running_.size() > stay) preempt_last();
}

// In the queue's order and no other: a long prompt is not overtaken for ever by short ones.
void Scheduler::admit(int64_t budget) {
  while (queue_.waiting() > 0 && running() < limits_.max_batch) {
    const int64_t id = queue_.first();
    const auto place = std::lower_bound(running_.begin(), running_.end(), id,
                                        [&](int64_t a, int64_t b) { return queue_.before(a, b); });
    int64_t left = budget;  // what is promised already to those before it
    for (auto it = running_.begin(); it != place; ++it) left -= seqs_.at(*it).left();
    if (left <= 0 || !seat(seqs_.at(id))) return;
    running_.insert(place, id);
    queue_.take(id);
  }
}

// Pages for all tokens of a waiting sequence, those that are known from the cache; false when there are too few.
bool Scheduler::seat(Sequence& s) {
  // The last token is computed in any case: its logits are wanted.
  PrefixCache::Match known;
  if (limits_.prefix_cache && s.reuse) known = cache_.find(s.domain, std::span(s.tokens).first(s.tokens.size() - 1));
  s.pages = std::move(known.pages);
  const auto shared = static_cast<int64_t>(s.pages.size());
  // One page more than needed while others run, so that the next decode does not preempt it at once.
  if (pages_.available() < s.needs() - shared + (running_.empty() ? 0 : 1)) {
    for (int32_t page : s.pages) pages_.release(page);
    s.pages.clear();
    return false;
  }
  // The page to be copied is not held, so one of these may be it: nobody writes before the copies are made.
  while (static_cast<int64_t>(s.pages.size()) < s.needs()) s.pages.push_back(cache_.allocate());
  if (known.partial >= 0) copies_.push_back({known.partial, s.pages[static_cast<size_t>(shared)]});
  s.computed = shared * kPage + known.partial_tokens, s.published = shared;
  if (s.reused < 0) {
    s.reused = s.computed;
    admitted_tokens_ += static_cast<int64_t>(s.tokens.size()), reused_tokens_ += s.reused;
  }
  return true;
}

void Scheduler::extend(int64_t id, int32_t token) {
  Sequence& s = seqs_.at(id);
  if (s.drafts > 0 && s.tokens[s.tokens.size() - static_cast<size_t>(s.drafts)] == token) {
    --s.drafts;
    return;
  }
  drop_drafts(s);
  s.tokens.push_back(token);
}

// Full pages can be shared while their sequence still runs.
void Scheduler::publish(Sequence& s) {
  const int64_t full = s.computed / kPage;
  if (!limits_.prefix_cache || full <= s.published) return;
  cache_.insert(s.domain, std::span(s.tokens).first(static_cast<size_t>(full * kPage)), s.pages);
  s.published = full;
}

void Scheduler::release(Sequence& s) {
  drop_drafts(s);
  if (limits_.prefix_cache && s.computed > 0)
    cache_.insert(s.domain, std::span(s.tokens).first(static_cast<size_t>(s.computed)), s.pages);
  for (int32_t page : s.pages) pages_.release(page);
  s.pages.clear();
  s.computed = s.published = 0;
}

void Scheduler::remove(int64_t id) {
  release(seqs_.at(id));
  std::erase(running_, id);
  queue_.leave(id);
  seqs_.erase(id);
}

}  // namespace puyu
