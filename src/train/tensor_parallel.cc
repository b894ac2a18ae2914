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

Ranks::Ranks(Comm& world, const Mesh& mesh, TensorMode mode) : Ranks(world) {
  CHECK(mesh.ranks() == world.size() && mesh.pipeline == 1);
  mode_ = mode;
  if (mesh.tensor * mesh.context == 1) return;
  const Coordinates at = coordinates(mesh, world.rank());
  data_ = split(at.tensor + mesh.tensor * at.context);
  if (mesh.tensor > 1) tensor_ = split(at.context + mesh.context * at.data);
  if (mesh.context > 1) context_ = sequence_ = split(at.tensor + mesh.tensor * at.data);
  if (isp()) sequence_ = mesh.context > 1 ? split(at.data) : tensor_;
  if (splits_tensors()) state_ = mesh.context > 1 ? split(at.tensor) : data_;
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
