#include "train/pipeline_schedule.h"

#include <algorithm>

#include "base/error.h"

namespace puyu {
namespace {

// Forward and backward pass number k of a rank: groups of as many micro-batches as there are ranks go through one chunk
// after the other.
struct Numbering {
  int64_t ranks, chunks;
  int64_t in_group(int64_t k) const { return k % (ranks * chunks); }
  int64_t micro(int64_t k) const { return k / (ranks * chunks) * ranks + in_group(k) % ranks; }
  StageAction forward(int64_t k) const { return {StagePass::kForward, micro(k), in_group(k) / ranks}; }
  StageAction backward(int64_t k) const { return {StagePass::kBackward, micro(k), chunks - 1 - in_group(k) / ranks}; }
};

// Forward passes before the first backward pass, but for the one that comes right before it.
int64_t warm_up(const Depth& d, int64_t rank) {
  if (d.chunks == 1) return d.ranks - rank - 1;
  return 2 * (d.ranks - rank - 1) + (d.chunks - 1) * d.ranks;
}

// Gradients of weights follow those of inputs at a distance of `rank`: then all ranks keep equally many micro-batches,
// and the last ranks have most left to do while the first ones finish.
std::vector<StageAction> with_weight_passes(const std::vector<StageAction>& actions, int64_t rank) {
  std::vector<StageAction> out;
  int64_t backward = 0, weights = 0;
  for (const StageAction& a : actions) {
    out.push_back(a);
    if (a.pass == StagePass::kBackward && ++backward - weights > rank)
      out.push_back({StagePass::kWeights, weights++, 0});
  }
  while (weights < backward) out.push_back({StagePass::kWeights, weights++, 0});
  return out;
}

}  // namespace

Share Depth::blocks(int64_t layers, int64_t piece) const {
  const int64_t n = layers / pieces(), more = layers % pieces(), begin = piece * n + std::min(piece, more);
  return {begin, begin + n + (piece < more ? 1 : 0)};
}

int64_t Depth::blocks_of_rank(int64_t layers, int64_t rank) const {
  int64_t n = 0;
  for (int64_t c = 0; c < chunks; ++c) n += blocks(layers, piece(rank, c)).size();
  return n;
}

bool Depth::runs(int64_t layers, int64_t rank, int64_t part) const {
  if (part == 0) return rank == 0;
  if (part == layers + 1) return rank == ranks - 1;
  for (int64_t c = 0; c < chunks; ++c) {
    const Share b = blocks(layers, piece(rank, c));
    if (b.begin < part && part <= b.end) return true;
  }
  return false;
}

std::vector<StageAction> pipeline_actions(Schedule schedule, const Depth& d, int64_t micros, int64_t rank) {
  CHECK(0 <= rank && rank < d.ranks && d.chunks >= 1 && micros >= 0);
  CHECK(d.chunks == 1 || schedule == Schedule::kInterleaved);
  const Numbering number{d.ranks, d.chunks};
  // A last group that is not full is scheduled as if it were; what is not there takes no time.
  const int64_t groups = (micros + d.ranks - 1) / d.ranks, total = groups * d.pieces();
  const int64_t ahead = std::min(warm_up(d, rank), total);
  std::vector<StageAction> out;
  auto add = [&](const StageAction& a) {
    if (a.micro < micros) out.push_back(a);
  };
  for (int64_t k = 0; k < ahead; ++k) add(number.forward(k));
  for (int64_t k = 0; k < total; ++k) {
    if (k + ahead < total) add(number.forward(k + ahead));
    add(number.backward(k));
  }
  return schedule == Schedule::kZeroBubble ? with_weight_passes(out, rank) : out;
}

std::vector<StageAction> forward_actions(Schedule schedule, const Depth& d, int64_t micros, int64_t rank) {
  std::vector<StageAction> out = pipeline_actions(schedule, d, micros, rank);
  std::erase_if(out, [](const StageAction& a) { return a.pass != StagePass::kForward; });
  return out;
}

int64_t most_in_flight(Schedule schedule, const Depth& d, int64_t micros, int64_t rank) {
  const StagePass last = schedule == Schedule::kZeroBubble ? StagePass::kWeights : StagePass::kBackward;
  int64_t now = 0, most = 0;
  for (const StageAction& a : pipeline_actions(schedule, d, micros, rank)) {
    if (a.pass == StagePass::kForward) most = std::max(most, ++now);
    if (a.pass == last) --now;
  }
  return most;
}

}  // namespace puyu
