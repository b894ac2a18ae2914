// Memory. An Arena hands out tensors from one reserved range by bumping a pointer; release(mark) takes back everything
// allocated since mark(). Nothing is ever freed one by one and no kernel allocates. Reserving costs address space only:
// pages become real when first touched. The high-water mark per arena makes the memory table that train and serve
// print.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace puyu {

class Arena {
 public:
  // On a GPU memory is taken in blocks as it is needed; a tensor lies in one block, so the end of one may stay empty.
  // host_visible: memory that the CPU may touch too (tests; slow).
  Arena(std::string name, int64_t capacity_bytes, Device device = Device::kCpu, bool host_visible = false);
  // Memory that is a file without a name in `folder`: the system writes it there and forgets it when memory is short.
  // The file has its size from the beginning, so a full disk is an Error here and not a fault later.
  Arena(std::string name, int64_t capacity_bytes, const std::string& folder);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // 64-byte aligned, contents undefined (zero the first time on the CPU). Error when the capacity is exceeded.
  Tensor alloc(DType dtype, std::initializer_list<int64_t> shape);
  template <class T>
  T* alloc_array(int64_t n) {
    return alloc(kDTypeOf<T>, {n}).template as<T>();
  }
  int64_t mark() const { return used_; }
  void release(int64_t mark) {
    CHECK(0 <= mark && mark <= used_);
    used_ = mark;
  }
  int64_t used() const { return used_; }
  int64_t peak() const { return peak_; }
  int64_t capacity() const { return capacity_; }
  char* base() const { return blocks_.empty() ? nullptr : blocks_.front().data; }  // on the CPU, of the whole capacity
  const std::string& name() const { return name_; }
  Device device() const { return device_; }

 private:
  std::string name_;
  Device device_;
  bool host_visible_ = false;
  struct Block {
    char* data;
    int64_t begin, end;  // in bytes of the arena
  };
  char* place(int64_t bytes);  // moves used_ behind them
  std::vector<Block> blocks_;  // one on the CPU, of all that was reserved
  int64_t capacity_ = 0, used_ = 0, peak_ = 0;
};

// Gives back to `arena` at the end of the scope what the scope took.
class ScratchScope {
 public:
  explicit ScratchScope(Arena& a) : arena_(a), mark_(a.mark()) {}
  ~ScratchScope() { arena_.release(mark_); }
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;

 private:
  Arena& arena_;
  int64_t mark_;
};

std::string memory_table(const std::vector<const Arena*>& arenas);

}  // namespace puyu
