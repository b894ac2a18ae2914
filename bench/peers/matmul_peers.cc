// Matrix products: puyu beside oneDNN (packed weights) and OpenBLAS, in one run, medians of 9.
//   cmake --preset release -DPUYU_BENCH=ON && ninja -C build/release matmul_peers
//   OPENBLAS_CORETYPE=SkylakeX build/release/bench/peers/matmul_peers
// OpenBLAS picks its kernels by CPU family, so on new CPUs it needs the core type told.
#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <dnnl.hpp>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "base/rng.h"
#include "kernels/cpu/table.h"
#include "kernels/kernels.h"

namespace {

using namespace puyu;

double median_seconds(const std::function<void()>& f) {
  f();
  std::vector<double> t;
  for (int i = 0; i < 9; ++i) {
    auto a = std::chrono::steady_clock::now();
    f();
    t.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - a).count());
  }
  std::nth_element(t.begin(), t.begin() + 4, t.end());
  return t[4];
}

// Y [M, N] = X [M, K] W [N, K]^T with oneDNN's own weight layout, out in f32.
double onednn(int64_t M, int64_t K, int64_t N, DType type, void* x, void* w) {
  using namespace dnnl;
  static engine eng(engine::kind::cpu, 0);
  static stream s(eng);
  auto dt = type == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
  memory::desc xd({M, K}, dt, memory::format_tag::ab), plain({K, N}, dt, memory::format_tag::ba);
  memory::desc any({K, N}, dt, memory::format_tag::any), yd({M, N}, memory::data_type::f32, memory::format_tag::ab);
  matmul::primitive_desc pd(matmul::desc(xd, any, yd), eng);
  memory packed(pd.weights_desc(), eng), from(plain, eng, w), xm(xd, eng, x), ym(yd, eng);
  reorder(from, packed).execute(s, from, packed);
  s.wait();
  matmul op(pd);
  return median_seconds([&] {
    op.execute(s, {{DNNL_ARG_SRC, xm}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, ym}});
    s.wait();
  });
}

}  // namespace

int main() {
  Arena arena("bench", int64_t{2} << 30), scratch("scratch", int64_t{2} << 30);
  Ctx ctx{Device::kCpu, &scratch};
  std::printf("isa %s, %d threads; GFLOP/s, medians of 9\n", cpu::isa_name().c_str(), num_threads());
  std::printf("%-22s %5s  %8s %8s %8s %8s\n", "M x K x N", "dtype", "puyu", "packed", "oneDNN", "OpenBLAS");
  const int64_t sizes[][3] = {{512, 512, 512},   {1024, 1024, 1024}, {2048, 2048, 2048},
                              {4096, 320, 1024}, {2048, 2048, 8192}, {16, 2048, 8192}};
  for (auto [M, K, N] : sizes)
    for (DType t : {DType::kF32, DType::kBF16}) {
      ScratchScope scope(arena);
      Tensor x = arena.alloc(t, {M, K}), w = arena.alloc(t, {N, K}), y = arena.alloc(DType::kF32, {M, N}),
             f = arena.alloc(DType::kF32, {std::max(M, N), K});
      Rng rng(1);
      for (int64_t i = 0; i < f.numel(); ++i) f.as<float>()[i] = static_cast<float>(rng.uniform() - 0.5);
      cast(ctx, x, f.rows(0, M));
      cast(ctx, w, f.rows(0, N));
      Tensor p = pack_weight(ctx, arena.alloc(DType::kU8, {packed_weight_bytes(ctx, w)}).data, w);
      const double g = 2e-9 * static_cast<double>(M * N * K);
      double plain = g / median_seconds([&] { linear(ctx, y, x, w); }),
             packed = g / median_seconds([&] { linear(ctx, y, x, p); });
      double dnn = g / onednn(M, K, N, t, x.data, w.data), blas = 0;
      if (t == DType::kF32)
        blas = g / median_seconds([&] {
                 cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(M), static_cast<int>(N),
                             static_cast<int>(K), 1, x.as<float>(), static_cast<int>(K), w.as<float>(),
                             static_cast<int>(K), 0, y.as<float>(), static_cast<int>(N));
               });
      char name[64];
      std::snprintf(name, sizeof name, "%ld x %ld x %ld", long(M), long(K), long(N));
      std::printf("%-22s %5s  %8.0f %8.0f %8.0f %8.0f\n", name, dtype_name(t), plain, packed, dnn, blas);
    }
}
