// The groups that a rank of a mesh works in, and the tensor ranks' side of model/parallel.h. InternEvo's names of how
// tensor ranks share a block:
//   mtp   columns of wqkv, w1, w3 and rows of wo, w2; every rank has all tokens between the products
//   msp   the same; between the products each rank has a share of the tokens
//   fsp   as msp, and what was gathered for a product is gathered again in the backward pass: less memory
#pragma once
#include <memory>
#include <string>

#include "comm/mesh.h"
#include "model/parallel.h"
#include "train/pipeline_schedule.h"

namespace puyu {

enum class TensorMode { kMtp, kMsp, kFsp };
TensorMode parse_tensor_mode(const std::string& name);  // Error that names the known ones

class Ranks {
 public:
  explicit Ranks(Comm& world);  // all split the batch
  // By all ranks. mesh: of fit_mesh; chunks: of each pipeline rank.
  Ranks(Comm& world, const Mesh& mesh, TensorMode mode, int64_t chunks = 1);
  explicit Ranks(std::unique_ptr<Comm> world);  // owned

  Comm& world() const { return *world_; }
  // Ranks with the same share of the model: they split the batch and, by ZeRO, the training state.
  Comm& data() const { return *data_; }
  Comm& tensor() const { return *tensor_; }  // ranks that have the same sequences and split each block
  TensorMode mode() const { return mode_; }
  // Ranks that hold the other blocks: messages upwards, gradients downwards, and of the first and the last the two.
  Comm& stages() const { return stages_ ? *stages_ : *own_alone_; }
  Comm& stages_back() const { return *stages_back_; }
  Comm& ends() const { return *ends_; }
  const Depth& depth() const { return depth_; }
  bool splits_depth() const { return depth_.ranks > 1; }
  bool first_stage() const { return stages().rank() == 0; }
  bool last_stage() const { return stages().rank() == stages().size() - 1; }
  bool splits_tokens() const { return tensor_->size() > 1 && mode_ != TensorMode::kMtp; }

 private:
  std::unique_ptr<Comm> own_world_, own_data_, own_tensor_, own_alone_;
  std::unique_ptr<Comm> stages_, stages_back_, ends_;  // none: one rank holds the whole depth
  Comm *world_, *data_, *tensor_;
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
  void sum(Tensor partial) const override;

  // A call's tokens must be a multiple of this: equal rows of the stream, on the borders of messages' pieces.
  int64_t token_unit(int64_t hidden_size) const;
  // x: one row a rank, each a multiple of 64 elements; every row becomes that of its rank.
  void exchange(Tensor x) const;
  double wait_seconds() const { return wait_seconds_; }  // spent waiting for other ranks, since the beginning

 private:
  void wait(Pending work) const;
  Comm& comm_;
  TensorMode mode_;
  mutable double wait_seconds_ = 0;
};

}  // namespace puyu
