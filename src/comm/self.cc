// The group of one rank: nothing to add, nowhere to send.
#include <cstdlib>
#include <cstring>

#include "comm/comm.h"

namespace puyu {
namespace {

class Done final : public Work {
 public:
  bool poll() override { return true; }
  void wait() override {}
};

[[noreturn]] void no_other() {
  detail::check_failed(__FILE__, __LINE__, "size() > 1", "a group of one has no other rank to send to");
}

class SelfComm final : public Comm {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Pending start_all_reduce(Tensor) override { return std::make_unique<Done>(); }
  Pending start_reduce_scatter(Tensor) override { return std::make_unique<Done>(); }
  Pending start_all_gather(Tensor) override { return std::make_unique<Done>(); }
  Pending start_broadcast(Tensor, int root) override {
    CHECK(root == 0);
    return std::make_unique<Done>();
  }
  Pending start_all_to_all(Tensor to, Tensor from) override {
    CHECK(to.nbytes() == from.nbytes());
    std::memcpy(to.data, from.data, static_cast<size_t>(from.nbytes()));
    return std::make_unique<Done>();
  }
  Pending start_send(Tensor, int) override { no_other(); }
  Pending start_receive(Tensor, int) override { no_other(); }
  void barrier() override {}
  std::unique_ptr<Comm> split(int) override { return self_comm(); }
  int64_t buffer_bytes() const override { return 0; }
  int ranks_on_node() const override { return 1; }
  void set_patience(double) override {}
  [[noreturn]] void abort(int code) override { std::exit(code); }
};

}  // namespace

std::unique_ptr<Comm> self_comm() { return std::make_unique<SelfComm>(); }

}  // namespace puyu
