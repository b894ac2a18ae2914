#include "tensor/arena.h"
#include "tensor/device.h"

namespace puyu {

Tensor place_in(Arena& arena, Tensor t, Stream s) {
  if (t.device == arena.device()) return t;
  Tensor there = t;
  there.data = arena.alloc(DType::kU8, {t.nbytes()}).data;
  there.device = arena.device();
  copy_tensor(there, t, s);
  synchronize(s);
  return there;
}

}  // namespace puyu
