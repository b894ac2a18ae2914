// The order of work in a pipeline: pipeline ranks hold different blocks, and the micro-batches of a step go through
// them one behind the other. Pure data, known to all before the step begins; train/pipeline.h carries it out.
//
//   1f1b          Narayanan et al. 2019: forward passes until the pipe is full, then a backward and a forward in turn;
//                 idle (p - 1) / m of the work's time for p ranks and m micro-batches
//   interleaved   Narayanan et al. 2021, section 2.2: each rank holds v shorter chunks of blocks, p apart; (p - 1) / (m
//   v) zb-h1         Qi et al. 2023, section 2.3: 1f1b with the backward pass in two, of which only the gradients of
//   inputs
//                 keep others waiting; those of weights come later, where a rank would be idle. A third of 1f1b's where
//                 the three passes take equally long. No rank keeps more micro-batches than 1f1b's first.
#pragma once
#include <vector>

#include "comm/comm.h"

namespace puyu {

enum class Schedule { kOneForwardOneBackward, kInterleaved, kZeroBubble };

// How the depth is cut: into ranks * chunks pieces, of which rank r has the pieces r, r + ranks, r + 2 ranks …
struct Depth {
  int64_t ranks = 1, chunks = 1;
  int64_t pieces() const { return ranks * chunks; }
  int64_t piece(int64_t rank, int64_t chunk) const { return chunk * ranks + rank; }
  // Blocks [begin, end) of a piece: equally many, the first pieces one more where they do not divide.
  Share blocks(int64_t layers, int64_t piece) const;
  int64_t blocks_of_rank(int64_t layers, int64_t rank) const;
  // Whether a rank runs a part of the model (model/tensors.h): the embeddings are the first rank's, the head the
  // last's.
  bool runs(int64_t layers, int64_t rank, int64_t part) const;
};

// kBackward: the whole backward pass, with zb-h1 only the gradients of inputs; kWeights: then those of weights.
enum class StagePass { kForward, kBackward, kWeights };
struct StageAction {
  StagePass pass;
  int64_t micro, chunk;
  bool operator==(const StageAction&) const = default;
};

// What rank `rank` does with so many micro-batches, in order. chunks > 1: interleaved only.
std::vector<StageAction> pipeline_actions(Schedule schedule, const Depth& depth, int64_t micros, int64_t rank);
// Of that the forward passes alone (validation).
std::vector<StageAction> forward_actions(Schedule schedule, const Depth& depth, int64_t micros, int64_t rank);
// Most micro-batches and chunks of a rank whose activations are there at one time.
int64_t most_in_flight(Schedule schedule, const Depth& depth, int64_t micros, int64_t rank);

}  // namespace puyu
