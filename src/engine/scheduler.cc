#include "engine/scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace puyu {

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits), pages_(limits.pages) {
  if (limits.max_batch < 1 || limits.pages < 1 || limits.max_tokens_per_step < limits.max_batch)
    fail("[engine] expected max_batch >= 1, max_tokens_per_step >= max_batch and at least one page, got ",
         limits.max_batch, ", ", limits.max_tokens_per_step, " and ", limits.pages);
}

void Scheduler::add(int64_t id, int64_t tokens) {
  CHECK(tokens > 0 && pages_for(tokens) <= limits_.pages && !seqs_.contains(id));
  seqs_[id].tokens = tokens;
  waiting_.push_back(id);
}

std::vector<Scheduler::Work> Scheduler::plan() {
  std::vector<Work> work;
  int64_t budget = limits_.max_tokens_per_step;
  const int64_t preemptions = preemptions_;
  for (size_t i = 0; i < running_.size(); ++i) {  // grow() may shorten running_ behind i
    const int64_t id = running_[i];
    const Sequence& s = seqs_.at(id);
    if (s.tokens - s.computed == 1 && grow(id)) work.push_back(run(id, 1)), --budget;
  }
  // What was preempted now would only take its pages back.
  if (preemptions == preemptions_) admit(budget);
  for (int64_t id : running_) {
    const Sequence& s = seqs_.at(id);
    const int64_t n = std::min(budget, s.tokens - s.computed);
    if (n > 0) work.push_back(run(id, n)), budget -= n;
  }
  return work;
}

Scheduler::Work Scheduler::run(int64_t id, int64_t tokens) {
  Sequence& s = seqs_.at(id);
  s.computed += tokens;
  return {id, s.computed - tokens, s.computed, s.computed == s.tokens};
}

// Pages for all tokens of a running sequence; false when it had to give up its own.
bool Scheduler::grow(int64_t id) {
  Sequence& s = seqs_.at(id);
  while (static_cast<int64_t>(s.pages.size()) < pages_for(s.tokens)) {
    if (pages_.free_pages() > 0) {
      s.pages.push_back(pages_.allocate());
      continue;
    }
    const bool self = running_.back() == id;
    preempt_youngest();
    if (self) return false;
  }
  return true;
}

void Scheduler::preempt_youngest() {
  const int64_t id = running_.back();
  running_.pop_back();
  release(seqs_.at(id));
  waiting_.push_front(id);
  ++preemptions_;
}

// In order of arrival: a long prompt is not overtaken for ever by short ones.
void Scheduler::admit(int64_t budget) {
  for (int64_t id : running_) budget -= seqs_.at(id).tokens - seqs_.at(id).computed;  // promised already
  while (!waiting_.empty() && running() < limits_.max_batch && budget > 0) {
    Sequence& s = seqs_.at(waiting_.front());
    // One page more than needed while others run, so that the next decode does not preempt it at once.
    if (pages_.free_pages() < pages_for(s.tokens) + (running_.empty() ? 0 : 1)) return;
    while (static_cast<int64_t>(s.pages.size()) < pages_for(s.tokens)) s.pages.push_back(pages_.allocate());
    budget -= s.tokens;
    running_.push_back(waiting_.front());
    waiting_.pop_front();
  }
}

void Scheduler::extend(int64_t id) { ++seqs_.at(id).tokens; }

void Scheduler::release(Sequence& s) {
  for (int32_t page : s.pages) pages_.release(page);
  s.pages.clear();
  s.computed = 0;
}

void Scheduler::remove(int64_t id) {
  release(seqs_.at(id));
  std::erase(running_, id);
  std::erase(waiting_, id);
  seqs_.erase(id);
}

}  // namespace puyu
