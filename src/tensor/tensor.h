// Tensor: a 64-byte view of contiguous memory that someone else owns. No operators, no reference counts; passed by
// value. A default Tensor is "none" and tests false. Shapes are written [T, D] in comments; the last index is fastest.
#pragma once
#include <cstdint>
#include <string>

#include "base/check.h"
#include "tensor/dtype.h"

namespace puyu {

enum class Device : uint8_t { kCpu, kCuda };
// kPacked: a weight [N, K] in the panel order of this machine's matmul kernels (kernels.h, pack_weight); kPackedA8: for
// activations that are quantised to int8 as they come (kernels.h, pack_weight_int4).
enum class Layout : uint8_t { kPlain, kPacked, kPackedA8 };

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;
  Layout layout = Layout::kPlain;
  uint8_t rank = 0;
  int64_t shape[4] = {0, 0, 0, 0};

  explicit operator bool() const { return data != nullptr; }
  int64_t size(int i) const {
    CHECK(i >= 0 && i < rank);
    return shape[i];
  }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  int64_t nbytes() const { return numel() * dtype_size(dtype); }
  template <class T>
  T* as() const {
    CHECK(dtype == kDTypeOf<T>, "the tensor holds another type");
    return static_cast<T*>(data);
  }
  // Rows [begin, end) of the first dimension.
  Tensor rows(int64_t begin, int64_t end) const {
    CHECK(rank >= 1 && 0 <= begin && begin <= end && end <= shape[0] && layout == Layout::kPlain);
    Tensor t = *this;
    t.data = static_cast<char*>(data) + begin * (shape[0] ? nbytes() / shape[0] : 0);
    t.shape[0] = end - begin;
    return t;
  }
  Tensor view(int64_t a, int64_t b) const {
    Tensor t = *this;
    t.rank = 2, t.shape[0] = a, t.shape[1] = b, t.shape[2] = t.shape[3] = 0;
    CHECK(t.numel() == numel());
    return t;
  }
  Tensor flat() const {
    Tensor t = *this;
    t.rank = 1, t.shape[0] = numel(), t.shape[1] = t.shape[2] = t.shape[3] = 0;
    return t;
  }
};
static_assert(sizeof(Tensor) <= 64);

template <class T>
Tensor make_view(T* data, int64_t a, int64_t b = -1, int64_t c = -1, int64_t d = -1) {
  Tensor t;
  t.data = const_cast<std::remove_const_t<T>*>(data);
  t.dtype = kDTypeOf<std::remove_const_t<T>>;
  for (int64_t s : {a, b, c, d})
    if (s >= 0) t.shape[t.rank++] = s;
  return t;
}

inline std::string shape_string(const Tensor& t) {
  std::string s = "[";
  for (int i = 0; i < t.rank; ++i) s += (i ? ", " : "") + std::to_string(t.shape[i]);
  return s + "] " + dtype_name(t.dtype);
}

}  // namespace puyu
