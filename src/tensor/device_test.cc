#include "tensor/device.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "tensor/arena.h"

namespace puyu {
namespace {

TEST(Device, WithoutAGpuMemoryIsRefusedWithWhatToDo) {
  if (device_count() > 0) GTEST_SKIP() << "there is a GPU here";
  try {
    Arena arena("weights", 1 << 20, Device::kCuda);
    arena.alloc(DType::kF32, {1});
    FAIL() << "no error";
  } catch (const Error& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find(cuda_built_in() ? "nvidia-smi" : "--device cpu"), std::string::npos) << text;
  }
  EXPECT_NO_THROW(synchronize_device());
}

TEST(Device, CopiesWithinTheCpu) {
  Arena arena("test", 1 << 20);
  Tensor a = arena.alloc(DType::kF32, {3, 5}), b = arena.alloc(DType::kF32, {3, 5});
  std::iota(a.as<float>(), a.as<float>() + 15, 1.0f);
  copy_tensor(b, a);
  EXPECT_EQ(std::vector<float>(b.as<float>(), b.as<float>() + 15),
            std::vector<float>(a.as<float>(), a.as<float>() + 15));
  EXPECT_DEATH(copy_tensor(b, a.rows(0, 2)), "one type and size");
}

TEST(Device, CopiesToTheGpuAndBack) {
  if (device_count() == 0) GTEST_SKIP() << "no GPU here";
  Arena host("host", 1 << 20), gpu("gpu", 1 << 20, Device::kCuda);
  Tensor a = host.alloc(DType::kF32, {1000}), b = host.alloc(DType::kF32, {1000}), on = gpu.alloc(DType::kF32, {1000});
  EXPECT_EQ(on.device, Device::kCuda);
  std::iota(a.as<float>(), a.as<float>() + 1000, 0.0f);
  const Stream s = stream_create();
  copy_tensor(on, a, s);
  copy_tensor(b, on, s);
  synchronize(s);
  EXPECT_EQ(b.as<float>()[999], 999.0f);
  EXPECT_GT(device_memory().total, 0);
  stream_destroy(s);
}

}  // namespace
}  // namespace puyu
