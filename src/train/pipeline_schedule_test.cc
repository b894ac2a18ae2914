// The schedules without a model: what each rank does is simulated, with messages and with time.
#include "train/pipeline_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "base/error.h"

namespace puyu {
namespace {

struct Shape {
  Schedule schedule;
  Depth depth;
  int64_t micros;
};
std::string name_of(const Shape& s) {
  return cat(s.schedule == Schedule::kInterleaved  ? "interleaved"
             : s.schedule == Schedule::kZeroBubble ? "zb-h1"
                                                   : "1f1b",
             ", ", s.depth.ranks, " ranks of ", s.depth.chunks, " chunks, ", s.micros, " micro-batches");
}

std::vector<Shape> all_shapes() {
  std::vector<Shape> out;
  for (int64_t ranks = 1; ranks <= 8; ++ranks)
    for (int64_t micros : {1, 2, 3, 4, 5, 7, 8, 12, 16, 33}) {
      out.push_back({Schedule::kOneForwardOneBackward, {ranks, 1}, micros});
      out.push_back({Schedule::kZeroBubble, {ranks, 1}, micros});
      for (int64_t chunks : {2, 3, 4}) out.push_back({Schedule::kInterleaved, {ranks, chunks}, micros});
    }
  return out;
}

// A pass of a piece of the depth, by what it is and not by who does it.
struct Done {
  StagePass step;
  int64_t micro, piece;
  auto operator<=>(const Done&) const = default;
};

// All ranks at work, in time: cost of the forward pass, of the gradients of inputs, and of those of weights, of a whole
// rank. Fails when nobody can go on.
class Simulation {
 public:
  explicit Simulation(const Shape& s) : shape_(s), at_(static_cast<size_t>(s.depth.ranks)) {
    for (int64_t r = 0; r < s.depth.ranks; ++r)
      lists_.push_back(pipeline_actions(s.schedule, s.depth, s.micros, r)), left_ += lists_.back().size();
  }

  // Sends never block. The time when the last rank is through.
  double run(double forward, double inputs, double weights) {
    std::vector<double> time(lists_.size());
    const bool split = shape_.schedule == Schedule::kZeroBubble;
    const auto chunks = static_cast<double>(shape_.depth.chunks);
    while (left_ > 0) {
      const size_t before = left_;
      for (size_t r = 0; r < lists_.size(); ++r)
        for (; at_[r] < lists_[r].size(); ++at_[r], --left_) {
          const StageAction& a = lists_[r][at_[r]];
          const auto needs = needed(a, r);
          if (needs && !finished_.contains(*needs)) break;
          const double cost = (a.pass == StagePass::kForward   ? forward
                               : a.pass == StagePass::kWeights ? weights
                               : split                         ? inputs
                                                               : inputs + weights) /
                              chunks;
          const double start = std::max(time[r], needs ? finished_[*needs] : 0.0);
          EXPECT_TRUE(finished_.emplace(done(a, r), time[r] = start + cost).second) << "twice";
        }
      if (left_ == before) {
        ADD_FAILURE() << name_of(shape_) << ": deadlock";
        return -1;
      }
    }
    return *std::max_element(time.begin(), time.end());
  }

  // A rank goes on after a pass only when its result is taken, and one message of each direction is taken ahead of its
  // use (as pipeline.cc does): nobody waits for ever.
  void run_with_blocking_sends() {
    const size_t n = lists_.size();
    std::map<std::pair<size_t, StagePass>, int64_t> taken;  // of a rank and direction: messages used
    std::map<std::pair<size_t, StagePass>, int64_t> sent;   // of a sender
    std::vector<bool> sending(n);
    while (left_ > 0) {
      bool moved = false;
      for (size_t r = 0; r < n; ++r) {
        if (at_[r] == lists_[r].size()) continue;
        const StageAction& a = lists_[r][at_[r]];
        if (!sending[r]) {
          const auto needs = needed(a, r);
          if (needs && !finished_.contains(*needs)) continue;
          if (receives(a, r)) ++taken[{r, a.pass}];
          sending[r] = moved = true;
          continue;
        }
        if (const auto to = receiver(a, r)) {
          if (sent[{r, a.pass}] > taken[{*to, a.pass}]) continue;
          ++sent[{r, a.pass}];
        }
        finished_[done(a, r)] = 0, sending[r] = false, ++at_[r], --left_, moved = true;
      }
      if (!moved) {
        ADD_FAILURE() << name_of(shape_) << ": deadlock with blocking sends";
        return;
      }
    }
  }

  const std::vector<StageAction>& list(int64_t r) const { return lists_[static_cast<size_t>(r)]; }
  Done done(const StageAction& a, size_t r) const {
    return {a.pass, a.micro, shape_.depth.piece(static_cast<int64_t>(r), a.chunk)};
  }
  std::optional<Done> needed(const StageAction& a, size_t r) const {
    const Done d = done(a, r);
    const int64_t last = shape_.depth.pieces() - 1;
    if (a.pass == StagePass::kWeights) return Done{StagePass::kBackward, d.micro, d.piece};
    if (a.pass == StagePass::kForward)
      return d.piece == 0 ? std::nullopt : std::optional(Done{a.pass, d.micro, d.piece - 1});
    return d.piece == last ? Done{StagePass::kForward, d.micro, d.piece} : Done{a.pass, d.micro, d.piece + 1};
  }
  std::optional<size_t> receiver(const StageAction& a, size_t r) const {
    const int64_t piece = done(a, r).piece, to = piece + (a.pass == StagePass::kForward ? 1 : -1);
    if (a.pass == StagePass::kWeights || to < 0 || to == shape_.depth.pieces()) return std::nullopt;
    return static_cast<size_t>(to % shape_.depth.ranks);
  }
  bool receives(const StageAction& a, size_t r) const {
    const auto needs = needed(a, r);
    return needs && needs->piece != done(a, r).piece;
  }

 private:
  Shape shape_;
  std::vector<std::vector<StageAction>> lists_;
  std::vector<size_t> at_;
  size_t left_ = 0;
  std::map<Done, double> finished_;
};

TEST(PipelineSchedule, EveryPassOnceAndNobodyWaitsForEver) {
  for (const Shape& s : all_shapes()) {
    const bool split = s.schedule == Schedule::kZeroBubble;
    for (int64_t r = 0; r < s.depth.ranks; ++r) {
      std::set<std::tuple<StagePass, int64_t, int64_t>> seen;
      for (const StageAction& a : pipeline_actions(s.schedule, s.depth, s.micros, r)) {
        EXPECT_TRUE(0 <= a.micro && a.micro < s.micros && 0 <= a.chunk && a.chunk < s.depth.chunks) << name_of(s);
        EXPECT_TRUE(seen.insert({a.pass, a.micro, a.chunk}).second) << name_of(s);
      }
      EXPECT_EQ(seen.size(), static_cast<size_t>(s.micros * s.depth.chunks * (split ? 3 : 2))) << name_of(s);
    }
    Simulation(s).run(1, 1, 1);
    Simulation(s).run_with_blocking_sends();
  }
}

// What one rank sends to the next arrives in the order in which it is waited for: messages carry no names.
TEST(PipelineSchedule, MessagesArriveInTheOrderOfTheirUse) {
  for (const Shape& s : all_shapes()) {
    const Simulation sim(s);
    for (StagePass step : {StagePass::kForward, StagePass::kBackward}) {
      std::map<size_t, std::vector<Done>> sent, used;  // by receiver
      for (int64_t r = 0; r < s.depth.ranks; ++r)
        for (const StageAction& a : sim.list(r)) {
          if (a.pass != step) continue;
          const auto rank = static_cast<size_t>(r);
          if (const auto to = sim.receiver(a, rank)) sent[*to].push_back(sim.done(a, rank));
          if (sim.receives(a, rank)) used[rank].push_back(*sim.needed(a, rank));
        }
      EXPECT_EQ(sent, used) << name_of(s);
    }
  }
}

// Idle time of the rank that is through last, over its work: the formulas of the papers.
TEST(PipelineSchedule, BubblesAreThoseOfThePapers) {
  for (int64_t p : {2, 3, 4, 8})
    for (int64_t m : {1, 2, 4}) {
      const auto M = static_cast<double>(m * p), P = static_cast<double>(p);
      auto bubble = [&](Schedule schedule, int64_t chunks, double f, double b, double w) {
        return Simulation({schedule, {p, chunks}, m * p}).run(f, b, w) / (M * (f + b + w)) - 1;
      };
      const double one = bubble(Schedule::kOneForwardOneBackward, 1, 1, 1, 1);
      EXPECT_NEAR(one, (P - 1) / M, 1e-12);
      EXPECT_NEAR(bubble(Schedule::kZeroBubble, 1, 1, 1, 1), one / 3, 1e-12);
      // Also where attention makes the gradients of inputs dearer than those of weights, which fill less then.
      EXPECT_LT(bubble(Schedule::kZeroBubble, 1, 1, 1.2, 0.8), 0.65 * one);
      for (int64_t v : {2, 3})
        EXPECT_NEAR(bubble(Schedule::kInterleaved, v, 1, 1, 1), (P - 1) / (M * static_cast<double>(v)), 1e-12);
    }
}

// 1F1B keeps p - r micro-batches on rank r, ZB-H1 p on all (Qi et al. 2023, section 2.3), interleaved one and a part
// more than 1F1B on the first (Narayanan et al. 2021, section 2.2.2: 1 + (p - 1) / (p v) of it).
TEST(PipelineSchedule, MicroBatchesInFlight) {
  for (int64_t p : {1, 2, 4, 8})
    for (int64_t r = 0; r < p; ++r) {
      EXPECT_EQ(most_in_flight(Schedule::kOneForwardOneBackward, {p, 1}, 4 * p, r), p - r);
      EXPECT_EQ(most_in_flight(Schedule::kZeroBubble, {p, 1}, 4 * p, r), p);
      for (int64_t v : {2, 4}) {
        EXPECT_EQ(most_in_flight(Schedule::kInterleaved, {p, v}, 4 * p, r), (v - 1) * p + 2 * (p - r - 1) + 1);
        EXPECT_LE(most_in_flight(Schedule::kInterleaved, {p, v}, 1, r), v);
      }
      EXPECT_EQ(most_in_flight(Schedule::kOneForwardOneBackward, {p, 1}, 1, r), 1);
    }
}

TEST(PipelineSchedule, ForwardAlone) {
  for (const Shape& s : all_shapes())
    for (int64_t r = 0; r < s.depth.ranks; ++r) {
      const auto forward = forward_actions(s.schedule, s.depth, s.micros, r);
      EXPECT_EQ(forward.size(), static_cast<size_t>(s.micros * s.depth.chunks));
      for (const StageAction& a : forward) EXPECT_EQ(a.pass, StagePass::kForward);
    }
}

TEST(PipelineDepth, PiecesAreTheWholeDepthInOrder) {
  for (int64_t layers : {4, 7, 12, 33})
    for (const Depth& d : {Depth{1, 1}, Depth{2, 1}, Depth{4, 1}, Depth{2, 2}, Depth{3, 1}}) {
      int64_t at = 0, most = 0, least = layers;
      for (int64_t piece = 0; piece < d.pieces(); ++piece) {
        const Share b = d.blocks(layers, piece);
        EXPECT_EQ(b.begin, at);
        at = b.end, most = std::max(most, b.size()), least = std::min(least, b.size());
      }
      EXPECT_EQ(at, layers);
      EXPECT_LE(most - least, 1);
      for (int64_t part = 0; part <= layers + 1; ++part) {
        int64_t owners = 0;
        for (int64_t r = 0; r < d.ranks; ++r) owners += d.runs(layers, r, part);
        EXPECT_EQ(owners, 1) << "part " << part;
      }
      int64_t blocks = 0;
      for (int64_t r = 0; r < d.ranks; ++r) blocks += d.blocks_of_rank(layers, r);
      EXPECT_EQ(blocks, layers);
    }
}

}  // namespace
}  // namespace puyu
