// What the tests of kernels share: every kernel against the scalar reference: values on double, gradients by complex
// step, for each instruction set of this machine, in f32 and bf16; for the CUDA kernels on a GPU where there is one,
// and everywhere by running their bodies on the CPU (cuda/emulator.h): in batch-invariant mode, and with cuBLASLt's
// products as three loops. Tolerances are relative to the largest reference value: 2e-5 for f32 (sums of a few hundred
// terms), 2e-2 for bf16 (8 bits, results rounded once or twice).
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <complex>
#include <cstring>
#include <functional>
#include <limits>
#include <ostream>

#include "base/rng.h"
#include "kernels/cpu/set_table.h"
#include "kernels/kernels.h"
#include "kernels/ref/ref.h"
#include "tensor/device.h"

namespace puyu {
namespace cpu::cuda_emulated {
extern const Table kTable;
}

using C = std::complex<double>;
using ref::Vec;

struct KernelParam {
  std::string isa;  // or cuda, cuda_emulated
  DType dtype;
  bool invariant = true;
};
inline std::vector<KernelParam> all_params() {
  // Kernels end before their call returns, so that the tests may look at managed memory at once.
  setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  std::vector<KernelParam> out;
  for (DType d : {DType::kF32, DType::kBF16}) {
    for (const auto& isa : cpu::available_isas()) out.push_back({isa, d});
    for (const char* device : {"cuda_emulated", "cuda"})
      for (bool invariant : {true, false})
        if (device == std::string("cuda_emulated") || device_count() > 0) out.push_back({device, d, invariant});
  }
  return out;
}
inline std::string name_of(const KernelParam& p) {
  return p.isa + (p.invariant ? "_" : "_library_") + dtype_name(p.dtype);
}
inline std::ostream& operator<<(std::ostream& out, const KernelParam& p) { return out << name_of(p); }

class Kernels : public ::testing::TestWithParam<KernelParam> {
 protected:
  void SetUp() override {
    if (emulated())
      cpu::set_table(cpu::cuda_emulated::kTable);
    else if (!on_gpu())
      cpu::set_isa(GetParam().isa);
  }
  void TearDown() override { cpu::set_isa(""); }

  static bool emulated() { return GetParam().isa == "cuda_emulated"; }
  static bool on_gpu() { return GetParam().isa == "cuda"; }
  const Device device = on_gpu() ? Device::kCuda : Device::kCpu;
  Arena arena{"test", 1 << 28, device, true}, scratch{"scratch", 1 << 28, device, true};
  Ctx ctx{device, &scratch, nullptr, GetParam().invariant};
  Rng rng{42};
  DType dtype = GetParam().dtype;
  double tol = dtype == DType::kF32 ? 2e-5 : 2e-2;

  // Random values that the dtype holds exactly, as doubles for the reference.
  Vec<double> random(int64_t n, double scale = 1.0) {
    Vec<double> v(n);
    for (double& x : v) {
      auto f = static_cast<float>(rng.normal() * scale);
      x = dtype == DType::kBF16 ? to_float(to_bf16(f)) : f;
    }
    return v;
  }
  Tensor put(const Vec<double>& v, std::initializer_list<int64_t> shape, DType t) {
    Tensor x = arena.alloc(t, shape);
    for (size_t i = 0; i < v.size(); ++i) {
      if (t == DType::kF32)
        x.as<float>()[i] = static_cast<float>(v[i]);
      else
        x.as<BF16>()[i] = to_bf16(static_cast<float>(v[i]));
    }
    return x;
  }
  Tensor put(const Vec<double>& v, std::initializer_list<int64_t> shape) { return put(v, shape, dtype); }
  Tensor blank(std::initializer_list<int64_t> shape,
               DType t) {  // filled with garbage: kernels must write every element
    Tensor x = arena.alloc(t, shape);
    fill(ctx, x, 77.0f);
    return x;
  }
  Tensor zeros(std::initializer_list<int64_t> shape, DType t = DType::kF32) {
    Tensor x = arena.alloc(t, shape);
    fill(ctx, x, 0.0f);
    return x;
  }
  static Vec<double> get(const Tensor& t) {
    if (on_gpu()) synchronize_device();
    Vec<double> v(t.numel());
    for (size_t i = 0; i < v.size(); ++i) v[i] = t.dtype == DType::kF32 ? t.as<float>()[i] : to_float(t.as<BF16>()[i]);
    return v;
  }
  void near(const Tensor& got, const Vec<double>& want, const char* what, double slack = 1.0) {
    Vec<double> g = get(got);
    ASSERT_EQ(g.size(), want.size()) << what;
    double scale = 1e-6, worst = 0;
    size_t at = 0;
    for (double w : want) scale = std::max(scale, std::fabs(w));
    for (size_t i = 0; i < g.size(); ++i) {
      double e = std::isfinite(g[i]) ? std::fabs(g[i] - want[i]) / scale : 1e9;
      if (e > worst) worst = e, at = i;
    }
    EXPECT_LE(worst, tol * slack) << what << "[" << at << "]: expected " << want[at] << ", got " << g[at];
  }
  static C dot(const Vec<C>& y, const Vec<double>& dy) {
    C s = 0;
    for (size_t i = 0; i < y.size(); ++i) s += y[i] * dy[i];
    return s;
  }
  static Vec<C> cx(const Vec<double>& v) { return {v.begin(), v.end()}; }
};

}  // namespace puyu
