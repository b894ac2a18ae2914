#include "kernels/cuda/emulator.h"

#include <algorithm>
#include <memory>
#include <vector>

#ifndef __x86_64__
#include <ucontext.h>
#endif

// A fiber's place is its stack pointer, below which its registers lie. (swapcontext asks the kernel twice a switch, and
// a tile product switches a hundred thousand times.)
#ifdef __x86_64__
extern "C" void puyu_switch_fiber(void** from, void* to);
asm(R"(
  .text
  .type puyu_switch_fiber, @function
puyu_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size puyu_switch_fiber, .-puyu_switch_fiber
)");
#endif

namespace puyu::emulator {
namespace {

constexpr size_t kStack = 96 << 10;

#ifdef __x86_64__
struct Place {
  void* stack = nullptr;
};
void switch_places(Place& from, Place& to) { puyu_switch_fiber(&from.stack, to.stack); }
void start_at(Place& p, char* memory, void (*entry)()) {
  // As if entry had been called from nowhere: the stack is 16-byte aligned before the return address.
  char* top = memory + kStack;
  top -= reinterpret_cast<uintptr_t>(top) % 16;
  auto* slot = reinterpret_cast<void**>(top - 16);
  slot[0] = reinterpret_cast<void*>(entry);
  slot[1] = nullptr;
  p.stack = static_cast<void*>(slot - 6);  // six registers of any value
}
#else
struct Place {
  ucontext_t at{};
};
void switch_places(Place& from, Place& to) { swapcontext(&from.at, &to.at); }
void start_at(Place& p, char* memory, void (*entry)()) {
  getcontext(&p.at);
  p.at.uc_stack.ss_sp = memory, p.at.uc_stack.ss_size = kStack, p.at.uc_link = nullptr;
  makecontext(&p.at, entry, 0);
}
#endif

enum class State : uint8_t { kReady, kAtBlock, kAtWarp, kDone };
struct Fiber {
  Place at;
  State state = State::kReady;
  int parity = 0;  // which of the warp's two rows of slots the next exchange uses
};
struct Warp {
  alignas(64) char slots[2][32 * kSlot];
  int arrived = 0, alive = 0;
};
struct Machine {
  std::vector<std::unique_ptr<char[]>> stacks;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<char> shared;
  char* shared_start = nullptr;
  Place scheduler;
  const std::function<void()>* body = nullptr;
  int current = 0, arrived = 0, alive = 0;
};
Machine& machine() {
  static Machine m;
  return m;
}

void fiber_main() {
  Machine& m = machine();
  CHECK(m.body);
  (*m.body)();
  m.fibers[static_cast<size_t>(m.current)].state = State::kDone;
  switch_places(m.fibers[static_cast<size_t>(m.current)].at, m.scheduler);
}

// Gives the processor back until the scheduler says that all have come.
void wait_in(State s) {
  Machine& m = machine();
  Fiber& f = m.fibers[static_cast<size_t>(m.current)];
  f.state = s;
  switch_places(f.at, m.scheduler);
}

void release(State s, int from, int to) {
  Machine& m = machine();
  for (int i = from; i < to; ++i)
    if (m.fibers[static_cast<size_t>(i)].state == s) m.fibers[static_cast<size_t>(i)].state = State::kReady;
}

// True when all lanes of the warp had come.
bool open_warp(int w) {
  Warp& warp = machine().warps[static_cast<size_t>(w)];
  if (warp.alive == 0 || warp.arrived < warp.alive) return false;
  warp.arrived = 0;
  release(State::kAtWarp, w * 32, std::min(block_size.x, w * 32 + 32));
  return true;
}

void switch_to(int i) {
  Machine& m = machine();
  m.current = i;
  thread_index.x = i;
  Fiber& f = m.fibers[static_cast<size_t>(i)];
  switch_places(m.scheduler, f.at);
  Warp& warp = m.warps[static_cast<size_t>(i / 32)];
  if (f.state == State::kAtBlock) ++m.arrived;
  if (f.state == State::kAtWarp) ++warp.arrived;
  if (f.state == State::kDone) --m.alive, --warp.alive;
}

void start_block(int threads, int64_t shared) {
  Machine& m = machine();
  const float nan = std::nanf("");
  for (int64_t i = 0; i + 4 <= shared; i += 4) std::memcpy(m.shared_start + i, &nan, 4);
  m.arrived = 0, m.alive = threads;
  for (int i = 0; i < threads; ++i) {
    Fiber& f = m.fibers[static_cast<size_t>(i)];
    start_at(f.at, m.stacks[static_cast<size_t>(i)].get(), fiber_main);
    f.state = State::kReady, f.parity = 0;
  }
  for (int w = 0; w * 32 < threads; ++w)
    m.warps[static_cast<size_t>(w)].arrived = 0, m.warps[static_cast<size_t>(w)].alive = std::min(32, threads - w * 32);
}

// One warp as far as it gets alone.
void run_warp(int w, int threads, bool upwards) {
  const int first = w * 32, lanes = std::min(32, threads - first);
  do
    for (int k = 0; k < lanes; ++k) {
      const int i = first + (upwards ? k : lanes - 1 - k);
      if (machine().fibers[static_cast<size_t>(i)].state == State::kReady) switch_to(i);
    }
  while (open_warp(w));
}

// From one barrier of the block to the next each warp runs ahead of all others, the first one first and then the last:
// what it reads of theirs without a barrier is not there yet, or no more.
void run_block(int threads) {
  Machine& m = machine();
  const int warps = (threads + 31) / 32;
  for (bool upwards = true; m.alive > 0; upwards = !upwards) {
    for (int k = 0; k < warps; ++k) run_warp(upwards ? k : warps - 1 - k, threads, upwards);
    CHECK(m.arrived == m.alive, "a barrier that not all threads of the block or warp reach");
    m.arrived = 0;
    release(State::kAtBlock, 0, threads);
  }
}

}  // namespace

void run(Index grid, int threads, int64_t shared, const std::function<void()>& body) {
  const DeviceWorks works;
  Machine& m = machine();
  CHECK(threads > 0 && threads <= 1024 && shared <= 227 << 10, "beyond what a block of a GPU may have");
  while (m.stacks.size() < static_cast<size_t>(threads)) m.stacks.push_back(std::make_unique<char[]>(kStack));
  m.fibers.resize(std::max(m.fibers.size(), static_cast<size_t>(threads)));
  m.warps.resize(std::max(m.warps.size(), static_cast<size_t>((threads + 31) / 32)));
  m.shared.resize(static_cast<size_t>(shared) + 1024);
  m.shared_start = m.shared.data() + (1024 - reinterpret_cast<uintptr_t>(m.shared.data()) % 1024) % 1024;
  m.body = &body;
  grid_size = grid, block_size = {threads, 1, 1};
  for (block_index.z = 0; block_index.z < grid.z; ++block_index.z)
    for (block_index.y = 0; block_index.y < grid.y; ++block_index.y)
      for (block_index.x = 0; block_index.x < grid.x; ++block_index.x) {
        start_block(threads, shared);
        run_block(threads);
      }
}

void* shared_memory() { return machine().shared_start; }
void block_barrier() { wait_in(State::kAtBlock); }

const char* exchange(const void* mine, int bytes) {
  Machine& m = machine();
  CHECK(bytes <= kSlot);
  Fiber& f = m.fibers[static_cast<size_t>(m.current)];
  char* slots = m.warps[static_cast<size_t>(m.current / 32)].slots[f.parity];
  f.parity ^= 1;  // the row before this one may still be read by lanes that are behind
  std::memcpy(slots + lane() * kSlot, mine, static_cast<size_t>(bytes));
  wait_in(State::kAtWarp);
  return slots;
}

}  // namespace puyu::emulator
