// Byte-pair joining, for every encoder: of all neighbours that have a join the one of the lowest rank is done first,
// the leftmost on ties, until there is none. For src/text/ only.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace puyu {

constexpr uint32_t kNoRank = ~uint32_t{0};
constexpr size_t kShortChunk = 48;   // up to here a scan for the best join beats a heap
constexpr size_t kHugeChunk = 4096;  // from here a queue for each rank beats one heap over all positions

struct Join {
  uint32_t rank = kNoRank;
  int32_t made = -1;
};

// find(left, right): their Join, of rank kNoRank when they have none.
template <class Find>
void join_short(std::vector<int32_t>& s, Find&& find) {
  std::array<Join, kShortChunk> join;
  size_t n = s.size();
  for (size_t i = 0; i + 1 < n; ++i) join[i] = find(s[i], s[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (join[i].rank < join[best].rank) best = i;
    if (join[best].rank == kNoRank) break;
    s[best] = join[best].made;
    --n;
    for (size_t i = best + 1; i < n; ++i) s[i] = s[i + 1], join[i] = join[i + 1];
    if (best > 0) join[best - 1] = find(s[best - 1], s[best]);
    if (best + 1 < n) join[best] = find(s[best], s[best + 1]);
  }
  s.resize(n);
}

template <class Find>
void join_long(std::vector<int32_t>& s, Find&& find) {
  struct Candidate {
    uint64_t order;  // rank, then position
    int32_t made;
    bool operator<(const Candidate& o) const { return order > o.order; }
  };
  constexpr uint32_t kEnd = ~uint32_t{0};
  const auto n = static_cast<uint32_t>(s.size());
  std::vector<uint32_t> next(n), prev(n);
  std::vector<Candidate> joins;
  auto candidate = [&](uint32_t i) -> Candidate {
    const Join j = find(s[i], s[next[i]]);
    return {static_cast<uint64_t>(j.rank) << 32 | i, j.rank == kNoRank ? -1 : j.made};
  };
  for (uint32_t i = 0; i < n; ++i) next[i] = i + 1 < n ? i + 1 : kEnd, prev[i] = i > 0 ? i - 1 : kEnd;
  for (uint32_t i = 0; i + 1 < n; ++i)
    if (Candidate j = candidate(i); j.made >= 0) joins.push_back(j);
  std::priority_queue<Candidate> queue({}, std::move(joins));
  while (!queue.empty()) {
    Candidate j = queue.top();
    queue.pop();
    auto i = static_cast<uint32_t>(j.order);
    if (s[i] < 0 || next[i] == kEnd || candidate(i).made != j.made) continue;  // one of the two has changed
    uint32_t gone = next[i];
    s[i] = j.made;
    s[gone] = -1;
    next[i] = next[gone];
    if (next[i] != kEnd) prev[next[i]] = i;
    for (uint32_t at : {prev[i], i})
      if (at != kEnd && next[at] != kEnd)
        if (Candidate k = candidate(at); k.made >= 0) queue.push(k);
  }
  std::erase(s, -1);
}

// The positions where a join of one rank can be done, the leftmost first. They mostly arrive in order, since the joins
// that make them are done from left to right: then both operations take constant time and memory is read forwards.
class JoinPlaces {
 public:
  void push(uint32_t place) {
    if (run_.empty() || place >= run_.back())
      run_.push_back(place);
    else
      late_.push(place);
  }
  bool empty() const { return at_ == run_.size() && late_.empty(); }
  uint32_t pop() {
    if (!late_.empty() && (at_ == run_.size() || late_.top() < run_[at_])) {
      const uint32_t place = late_.top();
      late_.pop();
      return place;
    }
    return run_[at_++];
  }
  void clear() { run_ = {}, at_ = 0; }
  bool queued = false;  // among the ranks that have work

 private:
  std::vector<uint32_t> run_;
  size_t at_ = 0;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> late_;
};

// As join_long, in linear time for long runs of anything.
template <class Find>
void join_huge(std::vector<int32_t>& s, Find&& find) {
  constexpr uint32_t kEnd = ~uint32_t{0};
  const auto n = static_cast<uint32_t>(s.size());
  std::vector<uint32_t> next(n), prev(n);
  std::vector<int32_t> index;  // by rank, into places; -1: none yet
  std::deque<JoinPlaces> places;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ranks;
  auto offer = [&](uint32_t i) {
    const uint32_t rank = find(s[i], s[next[i]]).rank;
    if (rank == kNoRank) return;
    if (rank >= index.size()) index.resize(size_t{rank} + size_t{rank} / 2 + 1, -1);
    if (index[rank] < 0) index[rank] = static_cast<int32_t>(places.size()), places.emplace_back();
    JoinPlaces& p = places[static_cast<size_t>(index[rank])];
    p.push(i);
    if (!std::exchange(p.queued, true)) ranks.push(rank);
  };
  for (uint32_t i = 0; i < n; ++i) next[i] = i + 1 < n ? i + 1 : kEnd, prev[i] = i > 0 ? i - 1 : kEnd;
  for (uint32_t i = 0; i + 1 < n; ++i) offer(i);
  while (!ranks.empty()) {
    const uint32_t rank = ranks.top();
    JoinPlaces& p = places[static_cast<size_t>(index[rank])];
    if (p.empty()) {
      ranks.pop();
      p.clear(), p.queued = false;
      continue;
    }
    const uint32_t i = p.pop();
    if (s[i] < 0 || next[i] == kEnd) continue;
    const Join j = find(s[i], s[next[i]]);
    if (j.rank != rank) continue;  // one of the two has changed
    const uint32_t gone = next[i];
    s[i] = j.made;
    s[gone] = -1;
    next[i] = next[gone];
    if (next[i] != kEnd) prev[next[i]] = i;
    for (uint32_t at : {prev[i], i})
      if (at != kEnd && next[at] != kEnd) offer(at);
  }
  std::erase(s, -1);
}

template <class Find>
void join_all(std::vector<int32_t>& symbols, Find&& find) {
  if (symbols.size() <= kShortChunk)
    join_short(symbols, find);
  else if (symbols.size() < kHugeChunk)
    join_long(symbols, find);
  else
    join_huge(symbols, find);
}

}  // namespace puyu
