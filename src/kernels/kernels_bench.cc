// A row per kernel: achieved FLOP/s or bytes/s. Run: build/release/src/kernels/bench_kernels --benchmark_filter=Linear
// Ratios to the machine's limits are in docs/benchmarks/; 'puyu bench limits' measures those.
#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "kernels/cpu/table.h"
#include "kernels/kernels.h"

namespace puyu {
namespace {

struct Setup {
  Arena arena{"bench", int64_t{8} << 30}, scratch{"scratch", int64_t{8} << 30};
  Ctx ctx{Device::kCpu, &scratch};
  Tensor random(DType t, std::initializer_list<int64_t> shape) {
    Tensor f = arena.alloc(DType::kF32, shape), x = arena.alloc(t, shape);
    Rng rng(1);
    for (int64_t i = 0; i < f.numel(); ++i) f.as<float>()[i] = static_cast<float>(rng.uniform() - 0.5);
    cast(ctx, x, f);
    return x;
  }
};
DType dtype_of(const benchmark::State& s, int arg) { return s.range(arg) ? DType::kBF16 : DType::kF32; }
void flops(benchmark::State& s, double per_iteration) {
  s.counters["FLOP/s"] =
      benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}
void bytes(benchmark::State& s, double per_iteration) {
  s.counters["B/s"] =
      benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

// Args: dtype, M, K, N
void LinearForward(benchmark::State& s) {
  Setup b;
  const int64_t M = s.range(1), K = s.range(2), N = s.range(3);
  Tensor x = b.random(dtype_of(s, 0), {M, K}), w = b.random(dtype_of(s, 0), {N, K}),
         y = b.arena.alloc(dtype_of(s, 0), {M, N});
  for (auto _ : s) linear(b.ctx, y, x, w);
  flops(s, 2.0 * M * N * K);
}
void LinearPacked(benchmark::State& s) {
  Setup b;
  const int64_t M = s.range(1), K = s.range(2), N = s.range(3);
  Tensor x = b.random(dtype_of(s, 0), {M, K}), w = b.random(dtype_of(s, 0), {N, K}),
         y = b.arena.alloc(dtype_of(s, 0), {M, N});
  Tensor p = pack_weight(b.ctx, b.arena.alloc(DType::kU8, {packed_weight_bytes(b.ctx, w)}).data, w);
  for (auto _ : s) linear(b.ctx, y, x, p);
  flops(s, 2.0 * M * N * K);
  bytes(s, static_cast<double>(N * K * dtype_size(x.dtype)));
}
void LinearDx(benchmark::State& s) {
  Setup b;
  const int64_t M = s.range(1), K = s.range(2), N = s.range(3);
  Tensor dx = b.arena.alloc(dtype_of(s, 0), {M, K}), w = b.random(dtype_of(s, 0), {N, K}),
         dy = b.random(dtype_of(s, 0), {M, N});
  for (auto _ : s) linear_dx(b.ctx, dx, dy, w);
  flops(s, 2.0 * M * N * K);
}
void LinearDw(benchmark::State& s) {
  Setup b;
  const int64_t M = s.range(1), K = s.range(2), N = s.range(3);
  Tensor x = b.random(dtype_of(s, 0), {M, K}), dw = b.random(DType::kF32, {N, K}),
         dy = b.random(dtype_of(s, 0), {M, N});
  for (auto _ : s) linear_dw(b.ctx, dw, dy, x);
  flops(s, 2.0 * M * N * K);
}
#define PUYU_SIZES                    \
  Args({0, 1024, 1024, 1024})         \
      ->Args({1, 1024, 1024, 1024})   \
      ->Args({0, 2048, 2048, 2048})   \
      ->Args({1, 2048, 2048, 2048})   \
      ->Args({1, 4096, 320, 1024})    \
      ->Unit(benchmark::kMillisecond) \
      ->UseRealTime()
BENCHMARK(LinearForward)->PUYU_SIZES;
BENCHMARK(LinearPacked)->PUYU_SIZES->Args({0, 1, 2048, 8192})->Args({1, 1, 2048, 8192})->Args({1, 16, 2048, 8192});
BENCHMARK(LinearDx)->PUYU_SIZES;
BENCHMARK(LinearDw)->PUYU_SIZES;

// Args: dtype, T, H, KV, HD. FLOPs of the causal half: forward 2 products, backward 5.
struct AttentionInput {
  Heads h;
  std::vector<int32_t> cu;
  Tensor qkv, o, lse;
};
AttentionInput attention_input(Setup& b, benchmark::State& s) {
  const int64_t T = s.range(1);
  AttentionInput a{{s.range(2), s.range(3), s.range(4)}, {0, static_cast<int32_t>(T)}, {}, {}, {}};
  a.qkv = b.random(dtype_of(s, 0), {T, a.h.row()});
  a.o = b.arena.alloc(dtype_of(s, 0), {T, a.h.q * a.h.dim});
  a.lse = b.arena.alloc(DType::kF32, {T, a.h.q});
  return a;
}
void AttentionForward(benchmark::State& s) {
  Setup b;
  AttentionInput a = attention_input(b, s);
  for (auto _ : s) attention(b.ctx, a.o, a.lse, a.qkv, a.h, PackedSeqs{a.cu.data(), 1, s.range(1)});
  flops(s, 2.0 * s.range(1) * s.range(1) * a.h.q * a.h.dim);
}
void AttentionBackward(benchmark::State& s) {
  Setup b;
  AttentionInput a = attention_input(b, s);
  Tensor d = b.random(a.o.dtype, {s.range(1), a.h.q * a.h.dim}),
         dqkv = b.arena.alloc(a.qkv.dtype, {s.range(1), a.h.row()});
  attention(b.ctx, a.o, a.lse, a.qkv, a.h, PackedSeqs{a.cu.data(), 1, s.range(1)});
  for (auto _ : s) attention_backward(b.ctx, dqkv, d, a.o, a.lse, a.qkv, a.h, PackedSeqs{a.cu.data(), 1, s.range(1)});
  flops(s, 5.0 * s.range(1) * s.range(1) * a.h.q * a.h.dim);
}
#define PUYU_ATTENTION                \
  Args({0, 1024, 8, 2, 64})           \
      ->Args({1, 1024, 8, 2, 64})     \
      ->Args({1, 1024, 8, 4, 128})    \
      ->Args({1, 4096, 8, 4, 128})    \
      ->Unit(benchmark::kMillisecond) \
      ->UseRealTime()
BENCHMARK(AttentionForward)->PUYU_ATTENTION;
BENCHMARK(AttentionBackward)->PUYU_ATTENTION;

// Args: dtype, T, D
#define PUYU_ROWS Args({0, 4096, 1024})->Args({1, 4096, 1024})->Unit(benchmark::kMillisecond)->UseRealTime()
void RmsNormForward(benchmark::State& s) {
  Setup b;
  const int64_t T = s.range(1), D = s.range(2);
  Tensor x = b.random(dtype_of(s, 0), {T, D}), w = b.random(dtype_of(s, 0), {D}), y = b.arena.alloc(x.dtype, {T, D}),
         r = b.arena.alloc(DType::kF32, {T});
  for (auto _ : s) rmsnorm(b.ctx, y, r, x, w, 1e-5f);
  bytes(s, 2.0 * x.nbytes());
}
void RmsNormBackward(benchmark::State& s) {
  Setup b;
  const int64_t T = s.range(1), D = s.range(2);
  Tensor x = b.random(dtype_of(s, 0), {T, D}), w = b.random(dtype_of(s, 0), {D}), dy = b.random(x.dtype, {T, D}),
         dx = b.random(x.dtype, {T, D});
  Tensor r = b.random(DType::kF32, {T}), dw = b.random(DType::kF32, {D});
  for (auto _ : s) rmsnorm_backward(b.ctx, dx, dw, dy, x, w, r);
  bytes(s, 4.0 * x.nbytes());
}
void SwiGluForward(benchmark::State& s) {
  Setup b;
  Tensor g = b.random(dtype_of(s, 0), {s.range(1), s.range(2)}), u = b.random(g.dtype, {s.range(1), s.range(2)}),
         y = b.arena.alloc(g.dtype, {s.range(1), s.range(2)});
  for (auto _ : s) swiglu(b.ctx, y, g, u);
  bytes(s, 3.0 * g.nbytes());
}
void SwiGluBackward(benchmark::State& s) {
  Setup b;
  Tensor g = b.random(dtype_of(s, 0), {s.range(1), s.range(2)}), u = b.random(g.dtype, {s.range(1), s.range(2)}),
         d = b.random(g.dtype, {s.range(1), s.range(2)});
  Tensor dg = b.arena.alloc(g.dtype, {s.range(1), s.range(2)}), du = b.arena.alloc(g.dtype, {s.range(1), s.range(2)});
  for (auto _ : s) swiglu_backward(b.ctx, dg, du, d, g, u);
  bytes(s, 5.0 * g.nbytes());
}
void RopeInPlace(benchmark::State& s) {
  Setup b;
  const Heads h{8, 4, 128};
  Tensor qkv = b.random(dtype_of(s, 0), {s.range(1), h.row()}), table = b.random(DType::kF32, {s.range(1), h.dim});
  std::vector<int32_t> pos(static_cast<size_t>(s.range(1)), 0);
  for (int64_t i = 0; i < table.numel(); ++i)
    table.as<float>()[i] = 0.70710678f;  // a true rotation: values keep their size
  for (auto _ : s) rope(b.ctx, qkv, pos.data(), table, h);
  bytes(s, 2.0 * qkv.nbytes());
}
BENCHMARK(RmsNormForward)->PUYU_ROWS;
BENCHMARK(RmsNormBackward)->PUYU_ROWS;
BENCHMARK(SwiGluForward)->PUYU_ROWS;
BENCHMARK(SwiGluBackward)->PUYU_ROWS;
BENCHMARK(RopeInPlace)->PUYU_ROWS;

// Args: dtype, T, D, V. Forward, dx and dw: 6 T D V.
void CrossEntropy(benchmark::State& s) {
  Setup b;
  const int64_t T = s.range(1), D = s.range(2), V = s.range(3);
  Tensor x = b.random(dtype_of(s, 0), {T, D}), w = b.random(dtype_of(s, 0), {V, D}),
         dx = b.arena.alloc(x.dtype, {T, D}), dw = b.random(DType::kF32, {V, D});
  Tensor logp = b.arena.alloc(DType::kF32, {T});
  std::vector<int32_t> target(static_cast<size_t>(T), 3);
  std::vector<float> coef(static_cast<size_t>(T), 1.0f);
  for (auto _ : s) fused_cross_entropy(b.ctx, {logp, {}, {}}, dx, dw, x, w, target.data(), coef.data());
  flops(s, 6.0 * T * D * V);
}
BENCHMARK(CrossEntropy)
    ->Args({0, 1024, 512, 8192})
    ->Args({1, 1024, 512, 8192})
    ->Args({1, 1024, 768, 32000})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// Args: dtype of the gradient, T, V. Both halves; bytes: the logits twice, the gradient once.
void SoftmaxInParts(benchmark::State& s) {
  Setup b;
  const int64_t T = s.range(1), V = s.range(2);
  Tensor logits = b.random(DType::kF32, {T, V}), grad = b.arena.alloc(dtype_of(s, 0), {T, V});
  Tensor parts = b.arena.alloc(DType::kF32, {T, 3}), lse = b.random(DType::kF32, {T});
  std::vector<int32_t> target(static_cast<size_t>(T), 3);
  std::vector<float> coef(static_cast<size_t>(T), 1.0f);
  for (auto _ : s) {
    softmax_parts(b.ctx, parts, logits, target.data());
    softmax_backward(b.ctx, grad, logits, lse, target.data(), coef.data());
  }
  bytes(s, 2.0 * logits.nbytes() + grad.nbytes());
}
BENCHMARK(SoftmaxInParts)->Args({0, 1024, 8192})->Args({1, 1024, 8192})->Unit(benchmark::kMillisecond)->UseRealTime();

void AdamWStep(benchmark::State& s) {
  Setup b;
  const int64_t n = s.range(0);
  Tensor w = b.random(DType::kF32, {n}), m = b.random(DType::kF32, {n}), v = b.random(DType::kF32, {n}),
         g = b.random(DType::kF32, {n}), h = b.arena.alloc(DType::kBF16, {n});
  fill(b.ctx, v, 0.01f);
  for (auto _ : s) adamw(b.ctx, w, h, m, v, g, {1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1});
  bytes(s, 30.0 * n);
}
void AdamWStochastic(benchmark::State& s) {
  Setup b;
  const int64_t n = s.range(0);
  Tensor w = b.random(DType::kBF16, {n}), m = b.random(DType::kF32, {n}), v = b.random(DType::kF32, {n}),
         g = b.random(DType::kF32, {n});
  fill(b.ctx, v, 0.01f);
  for (auto _ : s) adamw(b.ctx, w, {}, m, v, g, {1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1, 7});
  bytes(s, 24.0 * n);
}
BENCHMARK(AdamWStochastic)->Arg(1 << 26)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(AdamWStep)->Arg(1 << 20)->Arg(1 << 26)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace puyu

BENCHMARK_MAIN();
