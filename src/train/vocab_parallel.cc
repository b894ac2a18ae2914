#include "train/vocab_parallel.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace puyu {
namespace {

constexpr int64_t kChunkBytes = 64 << 20;

// A chunk of tokens as this rank sees them.
struct Chunk {
  std::vector<int32_t> target;  // as a row of this rank's share; outside of it: another rank's
  std::vector<float> coef;      // 0 where a token is not counted
};

// logp and correct of a chunk, and lse [n] for the gradient, from the parts of all ranks: f32 [ranks, row], row: 3 n
// and what fills a message.
void join_parts(Tensor parts, int64_t n, const int32_t* target, float* logp, int32_t* correct, float* lse) {
  const int64_t ranks = parts.shape[0], row = parts.shape[1];
  const float* p = parts.as<float>();
  for (int64_t t = 0; t < n; ++t) {
    float max = p[3 * t], sum = 0, at_target = -3e38f;
    for (int64_t r = 1; r < ranks; ++r) max = std::max(max, p[r * row + 3 * t]);
    for (int64_t r = 0; r < ranks; ++r) {
      const float* of_rank = p + r * row + 3 * t;
      sum += of_rank[1] * std::exp(of_rank[0] - max);
      at_target = std::max(at_target, of_rank[2]);
    }
    lse[t] = max + std::log(sum);
    logp[t] = target[t] >= 0 ? at_target - max - std::log(sum) : 0;
    if (correct) correct[t] = target[t] >= 0 && at_target >= max;
  }
}

}  // namespace

void vocab_cross_entropy(Ctx& ctx, const TensorParallel& ranks, const CrossEntropyOut& out, Tensor dx, Tensor dw,
                         Tensor x, Tensor w, const int32_t* target, const float* coef) {
  CHECK(!out.entropy && (coef || !(dx || dw)));
  const int64_t T = x.shape[0], V = w.shape[0], first = ranks.rank() * V;
  const int64_t chunk = std::min(T, std::max<int64_t>(64, std::min<int64_t>(1024, kChunkBytes / (V * 4))));
  ScratchScope scope(*ctx.scratch);
  Tensor logits = ctx.scratch->alloc(DType::kF32, {chunk, V});
  Tensor grad = dx || dw ? ctx.scratch->alloc(x.dtype, {chunk, V}) : Tensor{};
  Tensor lse = ctx.scratch->alloc(DType::kF32, {chunk});
  Tensor parts = ctx.scratch->alloc(DType::kF32, {ranks.ranks(), (3 * chunk + 63) / 64 * 64});
  Chunk mine;
  for (int64_t begin = 0; begin < T; begin += chunk) {
    const int64_t n = std::min(chunk, T - begin);
    mine.target.clear(), mine.coef.clear();
    for (int64_t t = begin; t < begin + n; ++t) {
      mine.target.push_back(static_cast<int32_t>(target[t] - first));
      mine.coef.push_back(coef && target[t] >= 0 ? coef[t] : 0);
    }
    const Tensor xc = x.rows(begin, begin + n), lc = logits.rows(0, n);
    linear(ctx, lc, xc, w);
    softmax_parts(ctx, make_view(parts.as<float>() + ranks.rank() * parts.shape[1], n, 3), lc, mine.target.data());
    ranks.exchange(parts);
    join_parts(parts, n, target + begin, out.logp.as<float>() + begin,
               out.correct ? out.correct.as<int32_t>() + begin : nullptr, lse.as<float>());
    if (!grad) continue;
    const Tensor gc = grad.rows(0, n);
    softmax_backward(ctx, gc, lc, lse.rows(0, n), mine.target.data(), mine.coef.data());
    if (dx) linear_dx(ctx, dx.rows(begin, begin + n), gc, w);
    if (dw) linear_dw(ctx, dw, gc, xc);
  }
}

}  // namespace puyu
