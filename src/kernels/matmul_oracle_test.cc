// Matrix products against oneDNN and OpenBLAS, which share no line with ours. Where the two libraries are missing the
// test says so.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/cpu/table.h"
#include "kernels/kernels.h"
#ifdef PUYU_MATMUL_ORACLES
#include <cblas.h>

#include <dnnl.hpp>
#endif

namespace puyu {
namespace {

#ifdef PUYU_MATMUL_ORACLES

// Y [M, N] = X [M, K] W [N, K]^T in f32.
void onednn(int64_t M, int64_t K, int64_t N, DType type, void* x, void* w, float* y) {
  using namespace dnnl;
  engine eng(engine::kind::cpu, 0);
  stream s(eng);
  const auto dt = type == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
  const memory::desc xd({M, K}, dt, memory::format_tag::ab), wd({K, N}, dt, memory::format_tag::ba);
  const memory::desc yd({M, N}, memory::data_type::f32, memory::format_tag::ab);
  memory xm(xd, eng, x), wm(wd, eng, w), ym(yd, eng, y);
  dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(xd, wd, yd), eng))
      .execute(s, {{DNNL_ARG_SRC, xm}, {DNNL_ARG_WEIGHTS, wm}, {DNNL_ARG_DST, ym}});
  s.wait();
}
void openblas(int64_t M, int64_t K, int64_t N, const float* x, const float* w, float* y) {
  const int m = static_cast<int>(M), k = static_cast<int>(K), n = static_cast<int>(N);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, x, k, w, k, 0, y, n);
}

// Largest difference, relative to the root of the mean square of b.
double difference(const float* a, const float* b, int64_t n) {
  double largest = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
    squares += static_cast<double>(b[i]) * b[i];
  }
  return largest / std::sqrt(squares / static_cast<double>(n));
}

TEST(MatmulOracle, AgreesWithOneDnnAndOpenBlas) {
  Arena arena("test", 1 << 28), scratch("scratch", 1 << 28);
  Ctx ctx{Device::kCpu, &scratch};
  const int64_t sizes[][3] = {{1, 256, 704}, {33, 257, 129}, {200, 1000, 300}, {512, 512, 512}};
  for (const std::string& isa : cpu::available_isas()) {
    cpu::set_isa(isa);
    for (auto [M, K, N] : sizes)
      for (DType t : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(cat(isa, " ", dtype_name(t), " ", M, " x ", K, " x ", N));
        ScratchScope scope(arena);
        Tensor x = arena.alloc(t, {M, K}), w = arena.alloc(t, {N, K});
        Tensor y = arena.alloc(DType::kF32, {M, N}), want = arena.alloc(DType::kF32, {M, N});
        Tensor f = arena.alloc(DType::kF32, {std::max(M, N), K});
        Rng rng(1);
        for (Tensor operand : {x, w}) {
          for (int64_t i = 0; i < f.numel(); ++i) f.as<float>()[i] = static_cast<float>(rng.normal());
          cast(ctx, operand, f.rows(0, operand.shape[0]));
        }
        linear(ctx, y, x, w);
        // Sums in f32 of the same exact products, in other orders.
        onednn(M, K, N, t, x.data, w.data, want.as<float>());
        EXPECT_LT(difference(y.as<float>(), want.as<float>(), M * N), 1e-5);
        if (t != DType::kF32) continue;
        openblas(M, K, N, x.as<float>(), w.as<float>(), want.as<float>());
        EXPECT_LT(difference(y.as<float>(), want.as<float>(), M * N), 1e-5);
      }
  }
  cpu::set_isa("");
}

#else

TEST(MatmulOracle, AgreesWithOneDnnAndOpenBlas) {
  GTEST_SKIP() << "built without oneDNN and OpenBLAS (libdnnl-dev, libopenblas-dev)";
}

#endif

}  // namespace
}  // namespace puyu
