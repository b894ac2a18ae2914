#include <cmath>

#include "kernels/cuda/attention_forward.cuh"

namespace puyu::PUYU_CUDA {

HeadShape head_shape(const Heads& h) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(h.dim));
  return {static_cast<int>(h.kv), static_cast<int>(h.group()), static_cast<int>(h.dim), h.row(), scale * kLog2e, scale};
}

int64_t longest(const int32_t* cu, int64_t n, int64_t known, int64_t bound) {
  if (known > 0) return known;
  if (!host_can_read(cu)) return bound;
  int64_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = cu[i + 1] - cu[i] > most ? cu[i + 1] - cu[i] : most;
  return most;
}

void attention_packed(Ctx& ctx, Tensor o, Tensor lse, Tensor qkv, Heads heads, const PackedSeqs& seqs) {
  const int64_t T = qkv.shape[0], rows = longest(seqs.cu, seqs.n, seqs.max_len, T) * heads.group();
  if (T == 0 || rows == 0) return;
  ScratchScope scope(*ctx.scratch);
  const int32_t* cu = on_device(ctx, seqs.cu, seqs.n + 1);
  with_type(qkv.dtype, [&](auto tag) {
    using E = decltype(tag);
    with_head_size(heads.dim, [&](auto size) {
      constexpr int kDim = decltype(size)::value;
      using Keys = PackedKeys<E, kDim>;
      const AttentionOut<E> out{o.as<E>(), static_cast<float*>(lse.data), nullptr, 1, INT32_MAX, T};
      launch(ctx, &attend_kernel<E, kDim, Keys>, {ceil_div(rows, kTile), heads.kv, seqs.n}, kAttentionThreads,
             kForwardShared<E, kDim>, Keys{qkv.as<E>(), cu}, out, qkv.as<E>(), cu, head_shape(heads));
    });
  });
}

}  // namespace puyu::PUYU_CUDA
