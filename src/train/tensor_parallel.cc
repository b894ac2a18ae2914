#include "train/tensor_parallel.h"

#include <numeric>
#include <utility>

#include "base/error.h"

namespace puyu {

TensorMode parse_tensor_mode(const std::string& name) {
  if (name == "mtp") return TensorMode::kMtp;
  if (name == "msp") return TensorMode::kMsp;
  if (name == "fsp") return TensorMode::kFsp;
  if (name == "isp") return TensorMode::kIsp;
  fail("[train] parallel.tensor_mode: expected one of mtp, msp, fsp, isp, got '", name, "'");
}

Ranks::Ranks(Comm& world)
    : self_(self_comm()),
      world_(&world),
      data_(&world),
      tensor_(self_.get()),
      context_(self_.get()),
      sequence_(self_.get()),
      state_(&world) {}

Ranks::Ranks(std::unique_ptr<Comm> world) : Ranks(*world) { own_world_ = std::move(world); }

Ranks::Ranks(Comm& world, const Mesh& mesh, TensorMode mode, int64_t chunks) : Ranks(world) {
  CHECK(mesh.ranks() == world.size());
  mode_ = mode;
  if (mesh.tensor * mesh.context * mesh.pipeline == 1) return;
  const Coordinates at = coordinates(mesh, world.rank());
  const int64_t batch = at.data + mesh.data * at.pipeline;  // the same sequences and stage
  data_ = state_ = split(at.tensor + mesh.tensor * (at.context + mesh.context * at.pipeline));
  if (mesh.tensor > 1) tensor_ = split(at.context + mesh.context * batch);
  if (mesh.context > 1) context_ = sequence_ = split(at.tensor + mesh.tensor * batch);
  if (isp()) sequence_ = mesh.context > 1 ? split(batch) : tensor_;
  if (splits_tensors() ? mesh.context > 1 : mesh.tensor * mesh.context > 1)
    state_ = split(splits_tensors() ? at.tensor + mesh.tensor * at.pipeline : at.pipeline);
  if (mesh.pipeline == 1) return;
  depth_ = {mesh.pipeline, chunks};
  stages_ = split(at.tensor + mesh.tensor * (at.context + mesh.context * at.data));
  own_back_ = stages_->split(0), own_ends_ = stages_->split(first_stage() || last_stage() ? 0 : 1);
}

Comm* Ranks::split(int64_t color) { return groups_.emplace_back(world_->split(static_cast<int>(color))).get(); }

void TensorParallel::gather(Tensor all) const {
  if (splits_tokens()) wait(comm_.start_all_gather(all));
}

void TensorParallel::start_sum(Tensor partial) const {
  CHECK(!sum_);
  sum_ = splits_tokens() ? comm_.start_reduce_scatter(partial) : comm_.start_all_reduce(partial);
}

void TensorParallel::finish_sum() const { wait(std::move(sum_)); }

int64_t TensorParallel::token_unit(int64_t hidden_size) const {
  constexpr int64_t kPiece = 64;  // comm.h, share_of
  return splits_tokens() ? ranks() * (kPiece / std::gcd(kPiece, hidden_size)) : 1;
}

void TensorParallel::exchange(Tensor x) const {
  CHECK(x.shape[0] == ranks() && x.numel() % (int64_t{64} * ranks()) == 0);
  wait(comm_.start_all_gather(x));
}

void TensorParallel::wait(Pending work) const { wait_seconds_ += timed_wait(*work); }

}  // namespace puyu
