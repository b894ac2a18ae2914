// Memory of a GPU, copies to and from it, and the streams in which work is queued. device_cuda.cc where there is a
// CUDA, device_stub.cc elsewhere. Nothing here computes: that is kernels/.
#pragma once
#include <cstdint>
#include <string>

#include "tensor/tensor.h"

namespace puyu {

class Arena;

// Work queued in one stream runs in its order. Null is the default stream, which waits for all others of its kind.
using Stream = void*;

bool cuda_built_in();
int device_count();         // GPUs that this process can use; 0 without a GPU or without CUDA
std::string device_name();  // of the current GPU

// 256-byte aligned, contents undefined. host_visible: managed memory, which the CPU may read and write too, once the
// device is idle. Error when there is no GPU or not that much memory.
void* device_alloc(int64_t bytes, bool host_visible = false);
void device_free(void* p);
struct DeviceMemory {
  int64_t free = 0, total = 0;
};
DeviceMemory device_memory();

Stream stream_create();
void stream_destroy(Stream s);
void synchronize(Stream s);  // waits for what was queued
void synchronize_device();   // waits for all streams; nothing to do without a GPU

// to = from, whichever device each is on; queued in `s` when one of them is on a GPU. Memory of the CPU must stay as it
// is until the stream was waited for. Same dtype and size.
void copy_tensor(Tensor to, Tensor from, Stream s = nullptr);
// The same for plain bytes, of which at least one side is a GPU's.
void copy_bytes(void* to, const void* from, int64_t bytes, Stream s);
// `t` itself if it is on the arena's device, else a copy there that is complete when this returns. Plain layout only.
Tensor place_in(Arena& arena, Tensor t, Stream s = nullptr);

}  // namespace puyu
