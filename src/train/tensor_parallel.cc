#include "train/tensor_parallel.h"

#include <chrono>
#include <numeric>

#include "base/error.h"

namespace puyu {

TensorMode parse_tensor_mode(const std::string& name) {
  if (name == "mtp") return TensorMode::kMtp;
  if (name == "msp") return TensorMode::kMsp;
  if (name == "fsp") return TensorMode::kFsp;
  fail("[train] parallel.tensor_mode: expected one of mtp, msp, fsp, got '", name, "'");
}

Ranks::Ranks(Comm& world)
    : own_tensor_(self_comm()), own_alone_(self_comm()), world_(&world), data_(&world), tensor_(own_tensor_.get()) {}

Ranks::Ranks(std::unique_ptr<Comm> world) : Ranks(*world) { own_world_ = std::move(world); }

Ranks::Ranks(Comm& world, const Mesh& mesh, TensorMode mode, int64_t chunks) : Ranks(world) {
  CHECK(mesh.ranks() == world.size());
  mode_ = mode;
  if (mesh.tensor == 1 && mesh.pipeline == 1) return;
  const Coordinates at = coordinates(mesh, world.rank());
  own_data_ = world.split(static_cast<int>(at.pipeline * mesh.tensor + at.tensor));
  own_tensor_ = world.split(static_cast<int>(at.pipeline * mesh.data + at.data));
  data_ = own_data_.get(), tensor_ = own_tensor_.get();
  if (mesh.pipeline == 1) return;
  depth_ = {mesh.pipeline, chunks};
  stages_ = world.split(static_cast<int>(at.data * mesh.tensor + at.tensor));
  stages_back_ = stages_->split(0);
  ends_ = stages_->split(first_stage() || last_stage() ? 0 : 1);
}

void TensorParallel::gather(Tensor all) const {
  if (splits_tokens()) wait(comm_.start_all_gather(all));
}

void TensorParallel::sum(Tensor partial) const {
  wait(splits_tokens() ? comm_.start_reduce_scatter(partial) : comm_.start_all_reduce(partial));
}

int64_t TensorParallel::token_unit(int64_t hidden_size) const {
  constexpr int64_t kPiece = 64;  // comm.h, share_of
  return splits_tokens() ? ranks() * (kPiece / std::gcd(kPiece, hidden_size)) : 1;
}

void TensorParallel::exchange(Tensor x) const {
  CHECK(x.shape[0] == ranks() && x.numel() % (int64_t{64} * ranks()) == 0);
  wait(comm_.start_all_gather(x));
}

void TensorParallel::wait(Pending work) const {
  const auto begin = std::chrono::steady_clock::now();
  work->wait();
  wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace puyu
