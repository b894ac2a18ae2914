// What kernels need of the device beside launching.
#include <mutex>

#include "kernels/cuda/device.cuh"

namespace puyu::PUYU_CUDA {
namespace {

template <class V>
const V* to_device(Ctx& ctx, const V* p, int64_t n) {
#ifdef PUYU_CUDA_EMULATION
  (void)ctx, (void)n;
  return p;
#else
  if (!p || n == 0) return p;
  if (!host_can_read(p)) return p;
  V* copy = ctx.scratch->alloc_array<V>(n);
  // Memory of the CPU that is not pinned has been read when this returns.
  check(cudaMemcpyAsync(copy, p, static_cast<size_t>(n) * sizeof(V), cudaMemcpyHostToDevice,
                        static_cast<cudaStream_t>(ctx.stream)),
        "cannot copy indices");
  return copy;
#endif
}

}  // namespace

const int32_t* on_device(Ctx& ctx, const int32_t* p, int64_t n) { return to_device(ctx, p, n); }
const float* on_device(Ctx& ctx, const float* p, int64_t n) { return to_device(ctx, p, n); }

#ifdef PUYU_CUDA_EMULATION
bool host_can_read(const void*) { return true; }
void read_back(Ctx&, void* to, const void* from, int64_t bytes) {
  const emulator::DeviceWorks works;
  std::memcpy(to, from, static_cast<size_t>(bytes));
}
int multiprocessors() { return 4; }
#else
bool host_can_read(const void* p) {
  cudaPointerAttributes a{};
  if (cudaPointerGetAttributes(&a, p) != cudaSuccess) {
    cudaGetLastError();
    return true;
  }
  return a.type == cudaMemoryTypeUnregistered || a.type == cudaMemoryTypeHost;
}
void read_back(Ctx& ctx, void* to, const void* from, int64_t bytes) {
  const auto stream = static_cast<cudaStream_t>(ctx.stream);
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream), "cannot read a result back");
  check(cudaStreamSynchronize(stream), "work on the GPU failed");
}
int multiprocessors() {
  static std::once_flag once;
  static int n = 0;
  std::call_once(once, [] {
    int at = 0;
    check(cudaGetDevice(&at), "no GPU can be used");
    check(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, at), "the GPU's properties cannot be read");
  });
  return n;
}
#endif

}  // namespace puyu::PUYU_CUDA
