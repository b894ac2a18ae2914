// Stands in for device_cuda.cc in builds without CUDA.
#include <cstring>

#include "base/error.h"
#include "tensor/device.h"

namespace puyu {
namespace {
[[noreturn]] void no_cuda() {
  fail("[cuda] this puyu was built without CUDA; use --device cpu, or install nvcc and build with cmake --preset cuda");
}
}  // namespace

bool cuda_built_in() { return false; }
int device_count() { return 0; }
std::string device_name() { no_cuda(); }
void* device_alloc(int64_t, bool) { no_cuda(); }
void device_free(void*) {}
DeviceMemory device_memory() { no_cuda(); }
Stream stream_create() { no_cuda(); }
void stream_destroy(Stream) {}
void synchronize(Stream) {}
void synchronize_device() {}
void copy_bytes(void*, const void*, int64_t, Stream) { no_cuda(); }

void copy_tensor(Tensor to, Tensor from, Stream) {
  CHECK(to.dtype == from.dtype && to.nbytes() == from.nbytes(), "copy_tensor: of one type and size");
  if (to.device != Device::kCpu || from.device != Device::kCpu) no_cuda();
  std::memcpy(to.data, from.data, static_cast<size_t>(to.nbytes()));
}

}  // namespace puyu
