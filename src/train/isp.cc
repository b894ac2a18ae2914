#include "train/isp.h"

#include <cstring>

namespace puyu {
namespace {

// Columns of a matrix as n blocks, one below the other: blocks [n][rows][W / n] of matrix [rows, W]; or back.
void cut_columns(Tensor blocks, Tensor matrix, int64_t n, bool back) {
  const int64_t rows = matrix.shape[0], bytes = matrix.shape[1] / n * dtype_size(matrix.dtype);
  CHECK(matrix.shape[1] % n == 0 && blocks.nbytes() == matrix.nbytes());
  auto *b = static_cast<char*>(blocks.data), *m = static_cast<char*>(matrix.data);
#pragma omp parallel for schedule(static) if (matrix.nbytes() > (1 << 18))
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) {
      char *in_blocks = b + (i * rows + r) * bytes, *in_matrix = m + (r * n + i) * bytes;
      std::memcpy(back ? in_matrix : in_blocks, back ? in_blocks : in_matrix, static_cast<size_t>(bytes));
    }
}

}  // namespace

// The block of columns i is for rank i; the block of rows i is rank i's.
double to_heads(Ctx& ctx, Comm& comm, Tensor heads, Tensor rows) {
  ScratchScope scope(*ctx.scratch);
  const Tensor blocks = ctx.scratch->alloc(rows.dtype, {heads.shape[0], heads.shape[1]});
  cut_columns(blocks, rows, comm.size(), false);
  return timed_wait(*comm.start_all_to_all(heads, blocks));
}

double to_rows(Ctx& ctx, Comm& comm, Tensor rows, Tensor heads) {
  ScratchScope scope(*ctx.scratch);
  const Tensor blocks = ctx.scratch->alloc(rows.dtype, {heads.shape[0], heads.shape[1]});
  const double waited = timed_wait(*comm.start_all_to_all(blocks, heads));
  cut_columns(blocks, rows, comm.size(), true);
  return waited;
}

}  // namespace puyu
