// What every .cu of this folder stands on: launching, types, vectors, sums over a warp and a block. Two compilers read
// these files: nvcc, for the GPU (namespace cuda), and the host's, for the emulator (namespace cpu::cuda_emulated).
#pragma once
#include <cstring>
#include <initializer_list>

#include "base/error.h"
#include "kernels/kernels.h"

#ifdef PUYU_CUDA_EMULATION
#include "kernels/cuda/emulator.h"
#define PUYU_CUDA cpu::cuda_emulated
#define PUYU_UNROLL
#else
#include <cuda_runtime.h>
#define PUYU_CUDA cuda
#define PUYU_UNROLL _Pragma("unroll")
#endif

namespace puyu::PUYU_CUDA {
#include "kernels/signatures.inc"

#define PUYU_BODY __device__ __forceinline__

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The kernel's dynamic shared memory, 1024-byte aligned at its start.
#ifdef PUYU_CUDA_EMULATION
inline void* dynamic_shared() { return emulator::shared_memory(); }
#else
extern __shared__ __align__(1024) unsigned char puyu_shared_bytes[];
__device__ __forceinline__ void* dynamic_shared() { return puyu_shared_bytes; }
#endif

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

#ifdef PUYU_CUDA_EMULATION
template <class... P, class... A>
void launch(const Ctx&, void (*kernel)(P...), Grid g, int threads, int64_t shared, const A&... a) {
  CHECK(g.y < 65536 && g.z < 65536, "a grid beyond the device's limits");
  emulator::run({static_cast<int>(g.x), static_cast<int>(g.y), static_cast<int>(g.z)}, threads, shared,
                [&] { kernel(a...); });
}
#else
inline void check(cudaError_t e, const char* what) {
  if (e == cudaSuccess) [[likely]]
    return;
  fail("[cuda] ", what, ": ", cudaGetErrorString(e), " (", cudaGetErrorName(e), ")");
}
template <class... P, class... A>
void launch(const Ctx& ctx, void (*kernel)(P...), Grid g, int threads, int64_t shared, const A&... a) {
  if (g.x == 0 || g.y == 0 || g.z == 0) return;
  CHECK(g.y < 65536 && g.z < 65536, "a grid beyond the device's limits");
  if (shared > 48 << 10)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          "this GPU has too little shared memory for a kernel");
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(g.x), static_cast<unsigned>(g.y), static_cast<unsigned>(g.z));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared);
  config.stream = static_cast<cudaStream_t>(ctx.stream);
  check(cudaLaunchKernelEx(&config, kernel, P(a)...), "a kernel was not started");
}
#endif

// f(float{}) or f(BF16{}).
template <class F>
void with_type(DType t, F&& f) {
  if (t == DType::kF32)
    f(float{});
  else
    f(BF16{});
}

// Small arrays may be in the CPU's memory: then they are copied to scratch, in the stream's order.
const int32_t* on_device(Ctx& ctx, const int32_t* p, int64_t n);
const float* on_device(Ctx& ctx, const float* p, int64_t n);
bool host_can_read(const void* p);
// Waits for the stream, then `bytes` at `to` on the CPU are those of the GPU's `from`.
void read_back(Ctx& ctx, void* to, const void* from, int64_t bytes);
int multiprocessors();  // of the current GPU

inline bool aligned_16(std::initializer_list<const void*> pointers) {
  bool all = true;
  for (const void* p : pointers) all &= reinterpret_cast<uintptr_t>(p) % 16 == 0;
  return all;
}

// --- inside kernels ---

// A mistake of the programmer that only the device sees: the stream ends with an error.
PUYU_BODY void trap([[maybe_unused]] const char* why) {
#ifdef PUYU_CUDA_EMULATION
  CHECK(false, why);
#else
  __trap();
#endif
}

union Bits {
  float f;
  uint32_t u;
  int32_t i;
};
PUYU_BODY float as_float(float v) { return v; }
PUYU_BODY float as_float(BF16 v) {
  Bits b;
  b.u = static_cast<uint32_t>(v.bits) << 16;
  return b.f;
}
template <class T>
PUYU_BODY T from_float(float v);
template <>
PUYU_BODY float from_float<float>(float v) {
  return v;
}
template <>
PUYU_BODY BF16 from_float<BF16>(float v) {  // nearest even, NaN stays NaN
  Bits b;
  b.f = v;
  if ((b.u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((b.u >> 16) | 64)};
  return {static_cast<uint16_t>((b.u + 0x7fffu + ((b.u >> 16) & 1)) >> 16)};
}

// 16 bytes, moved at once.
struct alignas(16) Chunk {
  uint32_t w[4];
};
template <class T>
struct Vec {  // 16 bytes of T
  static constexpr int kN = 16 / static_cast<int>(sizeof(T));
  union {
    Chunk chunk;
    T v[kN];
  };
};
template <class T>
PUYU_BODY Vec<T> load_vec(const T* p) {
  Vec<T> r;
#ifdef __CUDA_ARCH__
  const uint4 q = *reinterpret_cast<const uint4*>(p);
  r.chunk.w[0] = q.x, r.chunk.w[1] = q.y, r.chunk.w[2] = q.z, r.chunk.w[3] = q.w;
#else
  std::memcpy(&r.chunk, p, 16);
#endif
  return r;
}
template <class T>
PUYU_BODY void store_vec(T* p, const Vec<T>& v) {
#ifdef __CUDA_ARCH__
  *reinterpret_cast<uint4*>(p) = make_uint4(v.chunk.w[0], v.chunk.w[1], v.chunk.w[2], v.chunk.w[3]);
#else
  std::memcpy(p, &v.chunk, 16);
#endif
}

PUYU_BODY float warp_sum(float v) {
  for (int m = 16; m > 0; m /= 2) v += __shfl_xor_sync(0xffffffffu, v, m);
  return v;
}
PUYU_BODY float warp_max(float v) {
  for (int m = 16; m > 0; m /= 2) {
    const float o = __shfl_xor_sync(0xffffffffu, v, m);
    v = o > v ? o : v;
  }
  return v;
}
// Over the block, the same in every thread; a fixed tree. slots: 32 floats of shared memory, free again after the next
// barrier.
PUYU_BODY float block_sum(float v, float* slots) {
  v = warp_sum(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = v;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return warp_sum(lane < warps ? slots[lane] : 0.0f);
}
PUYU_BODY float block_max(float v, float* slots) {
  v = warp_max(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = v;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return warp_max(lane < warps ? slots[lane] : -3e38f);
}
PUYU_BODY int least(int a, int b) { return a < b ? a : b; }
PUYU_BODY int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace puyu::PUYU_CUDA
