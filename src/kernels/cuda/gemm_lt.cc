#include "kernels/cuda/gemm_lt.h"

#include <cublasLt.h>

#include <array>
#include <map>
#include <mutex>
#include <optional>

#include "base/error.h"

namespace puyu::cuda {
namespace {

constexpr int64_t kWorkspace = 32 << 20;  // what NVIDIA recommends for Hopper

void check(cublasStatus_t s, const char* what) {
  if (s != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    fail("[cublasLt] ", what, ": ", cublasLtGetStatusString(s));
}

cublasLtHandle_t handle() {
  static const cublasLtHandle_t h = [] {
    cublasLtHandle_t made = nullptr;
    check(cublasLtCreate(&made), "cannot start; is the driver new enough for CUDA 13?");
    return made;
  }();
  return h;
}

cudaDataType_t type_of(DType t) { return t == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

// The descriptors of one call.
struct Plan {
  cublasLtMatmulDesc_t op = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;

  explicit Plan(const LtCall& c) {
    const cublasOperation_t ta = c.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                            tb = c.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F), "descriptor");
    check(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta), "descriptor");
    check(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb), "descriptor");
    const auto layout = [](cublasLtMatrixLayout_t* l, DType t, int64_t rows, int64_t cols, int64_t ld) {
      check(cublasLtMatrixLayoutCreate(l, type_of(t), static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld),
            "layout");
    };
    layout(&a, c.in, c.transpose_a ? c.k : c.m, c.transpose_a ? c.m : c.k, c.lda);
    layout(&b, c.in, c.transpose_b ? c.n : c.k, c.transpose_b ? c.k : c.n, c.ldb);
    layout(&d, c.out, c.m, c.n, c.ldd);
  }
  ~Plan() {
    cublasLtMatrixLayoutDestroy(d), cublasLtMatrixLayoutDestroy(b), cublasLtMatrixLayoutDestroy(a);
    cublasLtMatmulDescDestroy(op);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

uint32_t alignment(const void* p) {
  uint32_t a = 256;
  while (reinterpret_cast<uintptr_t>(p) % a != 0) a /= 2;
  return a;
}

using Key = std::array<int64_t, 13>;
Key key_of(const LtCall& c) {
  const void* added = c.c ? c.c : c.d;
  return {c.transpose_a,
          c.transpose_b,
          c.m,
          c.n,
          c.k,
          c.lda,
          c.ldb,
          c.ldd,
          static_cast<int64_t>(c.in),
          static_cast<int64_t>(c.out),
          alignment(c.a),
          alignment(c.b),
          alignment(c.d) < alignment(added) ? alignment(c.d) : alignment(added)};
}

// The heuristic's first choice among algorithms whose sums have one order.
std::optional<cublasLtMatmulAlgo_t> search(const Plan& p, const Key& key) {
  cublasLtMatmulPreference_t want = nullptr;
  check(cublasLtMatmulPreferenceCreate(&want), "preference");
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
    check(cublasLtMatmulPreferenceSetAttribute(want, what, &value, sizeof value), "preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspace));
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(key[10]));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(key[11]));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(key[12]));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(key[12]));
  cublasLtMatmulHeuristicResult_t found{};
  int n = 0;
  const cublasStatus_t s = cublasLtMatmulAlgoGetHeuristic(handle(), p.op, p.a, p.b, p.d, p.d, want, 1, &found, &n);
  cublasLtMatmulPreferenceDestroy(want);
  if (s == CUBLAS_STATUS_NOT_SUPPORTED || n == 0) return std::nullopt;
  check(s, "heuristic");
  return found.algo;
}

std::optional<cublasLtMatmulAlgo_t> algorithm(const Plan& p, const LtCall& c) {
  static std::mutex mutex;
  static std::map<Key, std::optional<cublasLtMatmulAlgo_t>> cache;
  const Key key = key_of(c);
  const std::lock_guard lock(mutex);
  if (const auto it = cache.find(key); it != cache.end()) return it->second;
  return cache.emplace(key, search(p, key)).first->second;
}

}  // namespace

bool gemm_lt(Ctx& ctx, const LtCall& c) {
  const Plan plan(c);
  const auto algo = algorithm(plan, c);
  if (!algo) return false;
  ScratchScope scope(*ctx.scratch);
  void* workspace = ctx.scratch->alloc(DType::kU8, {kWorkspace}).data;
  const float one = 1.0f, beta = c.c ? 1.0f : 0.0f;
  check(cublasLtMatmul(handle(), plan.op, &one, c.a, plan.a, c.b, plan.b, &beta, c.c ? c.c : c.d, plan.d, c.d, plan.d,
                       &*algo, workspace, static_cast<size_t>(kWorkspace), static_cast<cudaStream_t>(ctx.stream)),
        "matrix product");
  return true;
}

}  // namespace puyu::cuda
