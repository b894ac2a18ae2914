#include <cuda_runtime_api.h>

#include <cstring>

#include "base/error.h"
#include "tensor/device.h"

namespace puyu {
namespace {

void check(cudaError_t e, const char* what) {
  if (e == cudaSuccess) [[likely]]
    return;
  fail("[cuda] ", what, ": ", cudaGetErrorString(e), " (", cudaGetErrorName(e), ")");
}
cudaStream_t raw(Stream s) { return static_cast<cudaStream_t>(s); }

}  // namespace

bool cuda_built_in() { return true; }

int device_count() {
  int n = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess) {
    cudaGetLastError();  // no driver: not an error that a later call should see
    return 0;
  }
  return n;
}

std::string device_name() {
  int at = 0;
  cudaDeviceProp p{};
  check(cudaGetDevice(&at), "no GPU can be used");
  check(cudaGetDeviceProperties(&p, at), "the GPU's properties cannot be read");
  return p.name;
}

void* device_alloc(int64_t bytes, bool host_visible) {
  if (device_count() == 0) fail("[cuda] no GPU that this process can use; check nvidia-smi and CUDA_VISIBLE_DEVICES");
  void* p = nullptr;
  const auto n = static_cast<size_t>(bytes);
  const cudaError_t e = host_visible ? cudaMallocManaged(&p, n) : cudaMalloc(&p, n);
  if (e == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    const DeviceMemory m = device_memory();
    fail("[cuda] ", bytes, " bytes do not fit: ", m.free, " of ", m.total, " are free; use a smaller batch or model");
  }
  check(e, "cannot allocate");
  return p;
}

void device_free(void* p) { cudaFree(p); }  // in destructors: an error here has been reported by the call it came from

DeviceMemory device_memory() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "the GPU's free memory cannot be read");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

Stream stream_create() {
  cudaStream_t s = nullptr;
  check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cannot make a stream");
  return s;
}
void stream_destroy(Stream s) { cudaStreamDestroy(raw(s)); }
void synchronize(Stream s) { check(cudaStreamSynchronize(raw(s)), "work on the GPU failed"); }
void synchronize_device() {
  if (device_count() > 0) check(cudaDeviceSynchronize(), "work on the GPU failed");
}

void copy_bytes(void* to, const void* from, int64_t bytes, Stream s) {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, raw(s)), "cannot copy");
}

void copy_tensor(Tensor to, Tensor from, Stream s) {
  CHECK(to.dtype == from.dtype && to.nbytes() == from.nbytes(), "copy_tensor: of one type and size");
  if (to.device == Device::kCpu && from.device == Device::kCpu)
    std::memcpy(to.data, from.data, static_cast<size_t>(to.nbytes()));
  else
    copy_bytes(to.data, from.data, to.nbytes(), s);
}

}  // namespace puyu
