// cuBLASLt behind one function, in its own terms: column-major matrices, op(A) [m, k], op(B) [k, n], D [m, n].
// gemm_lt.cc is the library; gemm_lt_emulated.cc the same by three loops, for the tests.
#pragma once
#include "kernels/kernels.h"

namespace puyu::cuda {

struct LtCall {
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
  const void *a = nullptr, *b = nullptr;
  int64_t lda = 0, ldb = 0;
  const void* c = nullptr;  // added, of D's type and layout; null: nothing; may be d
  void* d = nullptr;
  int64_t ldd = 0;
  DType in = DType::kF32, out = DType::kF32;
};
// false: the library has no algorithm for this call (odd alignments); nothing was done. The same call is given the same
// algorithm in a process, and no algorithm adds in an order that varies.
bool gemm_lt(Ctx& ctx, const LtCall& call);

}  // namespace puyu::cuda
