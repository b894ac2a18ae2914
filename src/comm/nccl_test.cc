// Without a GPU: tensors of the CPU go through the host's Comm, and what cannot be says so. With one: a world of one.
#include "comm/nccl.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tensor/arena.h"

namespace puyu {
namespace {

TEST(Nccl, SaysThatItIsMissing) {
  if (nccl_built_in()) GTEST_SKIP() << "built with NCCL";
  try {
    nccl_comm(self_comm(), nullptr);
    FAIL() << "no error";
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("without NCCL"), std::string::npos) << e.what(); }
}

TEST(Nccl, TensorsOfTheCpuGoThroughTheHost) {
  if (!nccl_built_in()) GTEST_SKIP() << "built without NCCL (cmake --preset cuda)";
  auto comm = nccl_comm(self_comm(), nullptr);
  EXPECT_EQ(comm->size(), 1);
  std::vector<float> x{1, 2, 3}, y(3);
  comm->all_reduce(make_view(x.data(), 3));
  comm->all_to_all(make_view(y.data(), 3), make_view(x.data(), 3));
  EXPECT_EQ(y, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(gather_strings(*comm, "alone"), std::vector<std::string>{"alone"});
  EXPECT_EQ(comm->split(3)->size(), 1);
  comm->barrier();
}

TEST(Nccl, AWorldOfOneChangesNothing) {
  if (!nccl_built_in()) GTEST_SKIP() << "built without NCCL (cmake --preset cuda)";
  if (device_count() == 0) GTEST_SKIP() << "no GPU here";
  const Stream stream = stream_create();
  auto comm = nccl_comm(self_comm(), stream);
  Arena arena("nccl", 1 << 20, Device::kCuda, true);
  Tensor x = arena.alloc(DType::kF32, {1000}), to = arena.alloc(DType::kF32, {1000});
  std::iota(x.as<float>(), x.as<float>() + 1000, 0.0f);
  const std::vector<float> before(x.as<float>(), x.as<float>() + 1000);
  comm->all_reduce(x);
  comm->reduce_scatter(x);
  comm->all_gather(x);
  comm->broadcast(x, 0);
  comm->all_to_all(to, x);
  comm->barrier();
  synchronize(stream);
  EXPECT_EQ(std::vector<float>(x.as<float>(), x.as<float>() + 1000), before);
  EXPECT_EQ(std::vector<float>(to.as<float>(), to.as<float>() + 1000), before);
  comm.reset();
  stream_destroy(stream);
}

}  // namespace
}  // namespace puyu
