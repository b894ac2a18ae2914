// The groups that a rank of a mesh works in, and the tensor ranks' side of model/parallel.h. InternEvo's names of how
// tensor ranks share a block:
//   mtp   columns of wqkv, w1, w3 and rows of wo, w2; every rank has all tokens between the products
//   msp   the same; between the products each rank has a share of the tokens
//   fsp   as msp, and what was gathered for a product is gathered again in the backward pass: less memory
//   isp   no columns and rows: whole weights and a share of the tokens (train/sequence_parallel.h)
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "model/parallel.h"
#include "train/pipeline_schedule.h"

namespace puyu {

enum class TensorMode { kMtp, kMsp, kFsp, kIsp };
TensorMode parse_tensor_mode(const std::string& name);  // Error that names the known ones

class Ranks {
 public:
  explicit Ranks(Comm& world);  // all split the batch
  // By all ranks. mesh: of fit_mesh; chunks: of each pipeline rank.
  Ranks(Comm& world, const Mesh& mesh, TensorMode mode, int64_t chunks = 1);
  explicit Ranks(std::unique_ptr<Comm> world);  // owned

  Comm& world() const { return *world_; }
  Comm& data() const { return *data_; }        // they split the sequences of a batch
  Comm& tensor() const { return *tensor_; }    // the same sequences; they split each block, or isp: the tokens
  Comm& context() const { return *context_; }  // the same sequences and share of the model; they split the tokens
  // All that split the tokens of the same sequences: context ranks, times the tensor ranks of isp.
  Comm& sequence() const { return *sequence_; }
  // All with the same share of the model: gradients are summed over them and ZeRO splits the training state among them.
  Comm& state() const { return *state_; }
  TensorMode mode() const { return mode_; }
  // Ranks that hold the other blocks: messages upwards, gradients downwards, and of the first and the last the two.
  Comm& stages() const { return stages_ ? *stages_ : *self_; }
  Comm& stages_back() const { return *own_back_; }
  Comm& ends() const { return *own_ends_; }
  const Depth& depth() const { return depth_; }
  bool splits_depth() const { return depth_.ranks > 1; }
  bool first_stage() const { return stages().rank() == 0; }
  bool last_stage() const { return stages().rank() == stages().size() - 1; }
  bool isp() const { return tensor_->size() > 1 && mode_ == TensorMode::kIsp; }
  bool splits_tensors() const { return tensor_->size() > 1 && mode_ != TensorMode::kIsp; }
  // Whether tensor ranks have different rows of the residual stream.
  bool splits_stream() const { return splits_tensors() && mode_ != TensorMode::kMtp; }
  // Whether this rank is the first of those that work on the same sequences.
  bool first_of_sequences() const { return tensor_->rank() == 0 && context_->rank() == 0; }

 private:
  Comm* split(int64_t color);
  std::unique_ptr<Comm> own_world_, self_;
  std::vector<std::unique_ptr<Comm>> groups_;
  std::unique_ptr<Comm> own_back_, own_ends_;
  Comm *world_, *data_, *tensor_, *context_, *sequence_, *state_;
  Comm* stages_ = nullptr;  // none: one rank holds the whole depth
  Depth depth_;
  TensorMode mode_ = TensorMode::kMtp;
};

class TensorParallel final : public Parallel {
 public:
  explicit TensorParallel(const Ranks& ranks) : comm_(ranks.tensor()), mode_(ranks.mode()) {}
  int rank() const override { return comm_.rank(); }
  int ranks() const override { return comm_.size(); }
  bool splits_tokens() const override { return mode_ != TensorMode::kMtp; }
  bool keeps_gathered() const override { return mode_ != TensorMode::kFsp; }
  void gather(Tensor all) const override;
  void start_sum(Tensor partial) const override;
  void finish_sum() const override;

  // A call's tokens must be a multiple of this: equal rows of the stream, on the borders of messages' pieces.
  int64_t token_unit(int64_t hidden_size) const;
  // x: one row a rank, each a multiple of 64 elements; every row becomes that of its rank.
  void exchange(Tensor x) const;
  double wait_seconds() const { return wait_seconds_; }  // spent waiting for other ranks, since the beginning

 private:
  void wait(Pending work) const;
  Comm& comm_;
  TensorMode mode_;
  mutable Pending sum_;
  mutable double wait_seconds_ = 0;
};

}  // namespace puyu
