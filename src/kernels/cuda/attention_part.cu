// Attention to keys of other ranks. Training keeps its tensors on the CPU so far, and nothing calls these: the kernels
// come with the first trainer on a GPU, as another source of keys for attend_kernel.
#include "base/error.h"
#include "kernels/cuda/attention.cuh"

namespace puyu::PUYU_CUDA {

void attention_part(Ctx&, Tensor, Tensor, Tensor, Tensor, Heads, const AttentionSpan*, int64_t) {
  fail("[attention_part] context ranks have no CUDA kernel yet; train on the CPU, or set parallel.context = 1");
}
void attention_part_backward(Ctx&, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Heads, const AttentionSpan*,
                             int64_t) {
  fail(
      "[attention_part_backward] context ranks have no CUDA kernel yet; train on the CPU, or set parallel.context = 1");
}

}  // namespace puyu::PUYU_CUDA
