// A GPU's memory for the emulator (tensor/device.h), linked into tests instead of device_stub.cc: memory that the host
// may touch only while a kernel or a copy runs. A host that reads what lies on the GPU ends with SIGSEGV, as it would
// there.
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>

#include "base/error.h"
#include "kernels/cuda/emulator.h"
#include "tensor/device.h"

namespace puyu {
namespace {

struct Region {
  size_t bytes;
  bool host_visible;
};
struct Memory {
  std::mutex lock;
  std::map<void*, Region> regions;
  int working = 0;
  void allow(bool open) {
    for (auto& [p, r] : regions)
      if (!r.host_visible)
        CHECK(::mprotect(p, r.bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0, "mprotect of emulated memory");
  }
};
Memory& memory() {
  static auto* m = [] {  // never destroyed: arenas of other statics may end later
    emulator::device_works = [](bool begins) {
      Memory& of = memory();
      const std::lock_guard hold(of.lock);
      if (begins ? of.working++ == 0 : --of.working == 0) of.allow(begins);
    };
    return new Memory;
  }();
  return *m;
}

}  // namespace

bool cuda_built_in() { return true; }
int device_count() { return 1; }
std::string device_name() { return "emulated on the CPU"; }

void* device_alloc(int64_t bytes, bool host_visible) {
  Memory& m = memory();
  const std::lock_guard hold(m.lock);
  const auto n = static_cast<size_t>(bytes);
  const int access = host_visible || m.working ? PROT_READ | PROT_WRITE : PROT_NONE;
  void* p = ::mmap(nullptr, n, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail("[cuda] ", bytes, " bytes do not fit");
  m.regions[p] = {n, host_visible};
  return p;
}
void device_free(void* p) {
  Memory& m = memory();
  const std::lock_guard hold(m.lock);
  const auto it = m.regions.find(p);
  if (it == m.regions.end()) return;
  ::munmap(p, it->second.bytes);
  m.regions.erase(it);
}
DeviceMemory device_memory() { return {int64_t{1} << 30, int64_t{1} << 30}; }

Stream stream_create() { return nullptr; }
void stream_destroy(Stream) {}
void synchronize(Stream) {}
void synchronize_device() {}

void copy_bytes(void* to, const void* from, int64_t bytes, Stream) {
  const emulator::DeviceWorks works;
  std::memcpy(to, from, static_cast<size_t>(bytes));
}
void copy_tensor(Tensor to, Tensor from, Stream s) {
  CHECK(to.dtype == from.dtype && to.nbytes() == from.nbytes(), "copy_tensor: of one type and size");
  copy_bytes(to.data, from.data, to.nbytes(), s);
}

}  // namespace puyu
