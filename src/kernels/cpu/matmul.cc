#include "kernels/cpu/matmul.h"

#include <omp.h>

namespace puyu::cpu::PUYU_ISA {
namespace {

constexpr int64_t kTileM = 384, kTileN = 384;  // largest C block of one job, f32; with its chunks of A and B it fits L2

// Tiles of mr x nr one after another, each contiguous: rows a power of two apart would share cache sets.
struct Scratch {
  alignas(64) float c[(kTileM + kMaxMr) * (kTileN + kMaxNr)];
  alignas(64) uint32_t b[kChunk * kBlock * kMaxNr];  // one panel's chunk, when B is unpacked as it is used
};

// The tile whose first element is (m0, n0) of C.
template <class T>
void store_tile(const float* c, int64_t nr, int64_t rows, int64_t cols, int64_t m0, int64_t n0, const MatmulOut& o) {
  const int64_t ld = o.ld;
  T* out = static_cast<T*>(o.c) + m0 * ld + n0;
  const T* residual = o.residual ? static_cast<const T*>(o.residual) + m0 * ld + n0 : nullptr;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < cols; j += 16) {
      const int64_t n = cols - j;
      vf v = load(c + r * nr + j);
      if (o.dequant) {
        vi offset;
        __builtin_memcpy(&offset, o.dequant->offset + n0 + j, 64);
        v = __builtin_convertvector((vi)v + offset, vf) * (load(o.dequant->col + n0 + j) * o.dequant->row[m0 + r]);
      }
      if (residual) v += load_n(residual + r * ld + j, n);
      store_n(out + r * ld + j, v, n);
    }
}

// Rows [m0, m1) and columns [n0, n1) of C, both starting at panel borders.
void block_job(const Micro& m, const uint32_t* a, int64_t pa, const uint32_t* b, int64_t pb, int64_t k, int64_t m0,
               int64_t m1, int64_t n0, int64_t n1, const MatmulOut& out, Scratch& scratch) {
  const int64_t blocks = m.blocks(k), tile = m.mr * m.nr;
  const int64_t i0 = m0 / m.mr, i1 = ceil_div(m1, m.mr), j0 = n0 / m.nr, j1 = ceil_div(n1, m.nr);
  auto tile_at = [&](int64_t i, int64_t j) { return scratch.c + ((j - j0) * (i1 - i0) + i - i0) * tile; };
  const int64_t rows = i1 - i0, runs = rows * (j1 - j0), last = ceil_div(blocks, kChunk) - 1;
  auto run = [&](int64_t chunk, int64_t r) {
    const int64_t i = i0 + r % rows, j = j0 + r / rows;
    if (out.unpack && i == i0) out.unpack(m, scratch.b, b, chunk, j, pb);
    (m1 - i * m.mr <= 16 && m.run_few ? m.run_few : m.run)(tile_at(i, j), m.nr, a + (chunk * pa + i) * m.a_chunk(),
                                                           out.unpack ? scratch.b : b + (chunk * pb + j) * m.b_chunk(),
                                                           imin(kChunk, blocks - chunk * kChunk), chunk > 0);
  };
  m.begin();
  for (int64_t chunk = 0; chunk < last; ++chunk)
    for (int64_t r = 0; r < runs; ++r) run(chunk, r);
  with_type(out.type, [&](auto tag) {
    using T = decltype(tag);
    auto store = [&](int64_t r) {
      const int64_t i = i0 + r % rows, j = j0 + r / rows;
      store_tile<T>(tile_at(i, j), m.nr, imin(m.mr, m1 - i * m.mr), imin(m.nr, n1 - j * m.nr), i * m.mr, j * m.nr, out);
    };
    // A tile leaves a few tiles after it was finished: its own store has reached the cache by then, and the writing
    // overlaps the next products.
    constexpr int64_t kLag = 3;
    for (int64_t r = 0; r < runs + kLag; ++r) {
      if (r < runs) run(last, r);
      if (r >= kLag) store(r - kLag);
    }
  });
}

// Block sides: large for reuse, smaller when there would be too few jobs for the threads.
int64_t tile_side(int64_t total, int64_t panel, int64_t largest, int64_t want_jobs) {
  int64_t side = largest / panel * panel;
  while (side > panel && ceil_div(total, side) < want_jobs) side = ceil_div(side / 2, panel) * panel;
  return side;
}

}  // namespace

void matmul(Ctx& ctx, const Operand& a, const Operand& b, const uint32_t* packed_b, const MatmulOut& out) {
  const Micro& m = a.type == DType::kI8 ? micro_int8() : micro_for(a.type == DType::kBF16 && b.type == DType::kBF16);
  const int64_t M = a.outer, N = b.outer, K = a.k;
  const int64_t pm = ceil_div(M, m.mr), pn = ceil_div(N, m.nr);
  ScratchScope scope(*ctx.scratch);
  auto* pa = reinterpret_cast<uint32_t*>(ctx.scratch->alloc_array<int32_t>(m.a_size(K, pm)));
  uint32_t* pb = nullptr;
  if (!packed_b) pb = reinterpret_cast<uint32_t*>(ctx.scratch->alloc_array<int32_t>(m.b_size(K, pn)));
  const int threads = omp_get_max_threads();
  auto* tiles = per_thread<Scratch>(ctx, threads);
  const int64_t sm = tile_side(M, m.mr, kTileM, 1);
  const int64_t sn = tile_side(N, m.nr, kTileN, ceil_div(4 * threads, ceil_div(M, sm)));
  const int64_t jm = ceil_div(M, sm), jobs = jm * ceil_div(N, sn);
#pragma omp parallel if (M * N * K > 200000)
  {
    if (!packed_b) {
#pragma omp for schedule(static) nowait
      for (int64_t p = 0; p < pn; ++p) pack_b(m, pb, b, p, pn);
    }
#pragma omp for schedule(static)
    for (int64_t p = 0; p < pm; ++p) pack_a(m, pa, a, p, pm);
#pragma omp for schedule(dynamic, 1)
    for (int64_t job = 0; job < jobs; ++job) {
      const int64_t m0 = job % jm * sm, n0 = job / jm * sn;
      block_job(m, pa, pm, packed_b ? packed_b : pb, pn, K, m0, imin(m0 + sm, M), n0, imin(n0 + sn, N), out,
                tiles[omp_get_thread_num()]);
    }
  }
}

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  if (w.dtype == DType::kI8) return linear_int8(ctx, y, x, w, residual);
  if (w.dtype == DType::kI4) return linear_int4(ctx, y, x, w, residual);
  const int64_t M = x.shape[0], K = x.shape[1], N = w.shape[0];
  matmul(ctx, {x.data, x.dtype, K, true, M, K}, {w.data, w.dtype, K, true, N, K},
         w.layout == Layout::kPacked ? static_cast<const uint32_t*>(w.data) : nullptr,
         {y.data, y.dtype, N, residual.data});
}
void linear_dx(Ctx& ctx, Tensor dx, Tensor dy, Tensor w, bool accumulate) {
  const int64_t M = dy.shape[0], N = dy.shape[1], K = w.shape[1];
  matmul(ctx, {dy.data, dy.dtype, N, true, M, N}, {w.data, w.dtype, K, false, K, N}, nullptr,
         {dx.data, dx.dtype, K, accumulate ? dx.data : nullptr});
}
void linear_dw(Ctx& ctx, Tensor dw, Tensor dy, Tensor x) {
  const int64_t M = dy.shape[0], N = dy.shape[1], K = x.shape[1];
  matmul(ctx, {dy.data, dy.dtype, N, false, N, M}, {x.data, x.dtype, K, false, K, M}, nullptr,
         {dw.data, DType::kF32, K, dw.data});
}
int64_t packed_weight_bytes(const Ctx&, Tensor w) {
  if (w.dtype == DType::kI8) return packed_int8_bytes(w);
  const Micro& m = micro_for(w.dtype == DType::kBF16);
  return m.b_size(w.shape[1], ceil_div(w.shape[0], m.nr)) * 4;
}
Tensor pack_weight(Ctx&, void* dst, Tensor w) {
  const Micro& m = micro_for(w.dtype == DType::kBF16);
  const Operand o{w.data, w.dtype, w.shape[1], true, w.shape[0], w.shape[1]};
  const int64_t panels = ceil_div(w.shape[0], m.nr);
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < panels; ++p) pack_b(m, static_cast<uint32_t*>(dst), o, p, panels);
  w.data = dst;
  w.layout = Layout::kPacked;
  return w;
}

}  // namespace puyu::cpu::PUYU_ISA
