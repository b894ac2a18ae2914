// A GPU's thread grid on the CPU, so that the kernels of this folder run in plain ./test: the same source, compiled by
// the host's compiler. Every thread of a block is a fiber; __syncthreads and the operations of a warp switch fibers,
// and each warp runs ahead of the others between barriers, so that a missing one shows. Shared memory starts as NaNs.
// What a barrier waits for in vain aborts with a message. One block runs at a time: correctness, not speed.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "base/check.h"

// CUDA's own names. NOLINTBEGIN(bugprone-reserved-identifier)
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static

namespace puyu::emulator {

struct Index {
  int x = 0, y = 0, z = 0;
};
inline Index thread_index, block_index, block_size, grid_size;

// Told when the GPU begins to work, and when it has ended: memory of its own is closed to the host in between
// (emulated_device.cc).
inline void (*device_works)(bool begins) = nullptr;
struct DeviceWorks {
  DeviceWorks() {
    if (device_works) device_works(true);
  }
  ~DeviceWorks() {
    if (device_works) device_works(false);
  }
  DeviceWorks(const DeviceWorks&) = delete;
  DeviceWorks& operator=(const DeviceWorks&) = delete;
};

// Runs body() for every thread of every block. shared: bytes of dynamic shared memory.
void run(Index grid, int threads, int64_t shared, const std::function<void()>& body);
void* shared_memory();
void block_barrier();

// One exchange within a warp: every lane leaves `bytes` (at most kSlot) and, when all have, sees what the others left.
inline constexpr int kSlot = 64;
const char* exchange(const void* mine, int bytes);  // slot of lane 0; lane i is i * kSlot further
template <class T>
T from_lane(const char* slots, int lane, int at = 0) {
  T v;
  std::memcpy(&v, slots + lane * kSlot + at * static_cast<int>(sizeof(T)), sizeof v);
  return v;
}
inline int lane() { return thread_index.x & 31; }

}  // namespace puyu::emulator

namespace puyu {

inline emulator::Index& threadIdx = emulator::thread_index;
inline emulator::Index& blockIdx = emulator::block_index;
inline emulator::Index& blockDim = emulator::block_size;
inline emulator::Index& gridDim = emulator::grid_size;

inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp() {
  const char none = 0;
  emulator::exchange(&none, 1);
}
template <class T>
T __shfl_xor_sync(unsigned, T v, int mask) {
  return emulator::from_lane<T>(emulator::exchange(&v, sizeof v), emulator::lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T v, int from) {
  return emulator::from_lane<T>(emulator::exchange(&v, sizeof v), from & 31);
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
// NOLINTEND(bugprone-reserved-identifier)

}  // namespace puyu
