// How many elements and bytes the parts of a model take on a rank, asked of the code that allocates them and
// remembered: the search asks a hundred thousand times.
#pragma once
#include <map>
#include <tuple>

#include "train/plan.h"

namespace puyu {

class Sizes {
 public:
  explicit Sizes(const ModelConfig& c);
  // Elements of the flat arrays of model/weights.h, gaps included, and of them the matrices of one block.
  int64_t embeddings() const { return embeddings_; }
  int64_t block() const { return block_; }
  int64_t head() const { return head_; }
  int64_t block_matrices() const { return block_matrices_; }
  int64_t block_tensors() const { return block_tensors_; }
  // Bytes that one block keeps for the backward pass of one micro-batch, on one rank.
  int64_t kept(const TrainJob& job, const RankLayout& layout);
  // Bytes of one block's weight gradients put off, of one micro-batch (model/block.h, BlockLater).
  int64_t later(const TrainJob& job, const RankLayout& layout) const;
  // Bytes of the largest computation of a micro-batch beside that: a block's backward pass, or the head.
  int64_t work(const TrainJob& job, const RankLayout& layout, bool head);

 private:
  int64_t embeddings_, block_, head_, block_matrices_ = 0, block_tensors_ = 0;
  std::map<std::tuple<int64_t, int64_t, int64_t, int, int>, int64_t> kept_, work_;
};

// The model as one tensor rank computes it: its heads and its part of the feed-forward width; isp: all of both.
ModelConfig rank_model(const ModelConfig& c, const RankLayout& l);
// Tokens of a micro-batch that one rank computes: its part of the context; isp: of that, a tensor rank's.
int64_t rank_tokens(const TrainJob& job, const RankLayout& l);
// Ranks over which a copy of the weights is split.
int64_t weight_split(const RankLayout& l);
// Ranks that hold the same weights and must sum their gradients.
Group gradient_group(const RankLayout& l);
// Of them those that split the optimizer state.
Group state_group(const RankLayout& l);

MemoryPlan plan_memory(const TrainJob& job, const RankLayout& layout, Sizes& sizes);
TimePlan plan_time(const TrainJob& job, const RankLayout& layout, const Cluster& cluster, Sizes& sizes);
TrainPlan plan_training(const TrainJob& job, const RankLayout& layout, const Cluster& cluster,
                        Sizes& sizes);  // no checks
int64_t micro_batches(const TrainJob& job, const RankLayout& layout);
Depth depth_of(const RankLayout& layout);

}  // namespace puyu
