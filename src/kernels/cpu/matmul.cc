#include "kernels/cpu/matmul.h"

#include <omp.h>

#include "kernels/cpu/table.h"

namespace puyu::cpu::PUYU_ISA {
namespace {

constexpr int64_t kTileM = 384, kTileN = 384;  // largest C block of one job, f32; with its chunks of A and B it fits L2

// Tiles of mr x nr one after another, each contiguous: rows a power of two apart would share cache sets.
struct Scratch {
  alignas(64) float c[(kTileM + kMaxMr) * (kTileN + kMaxNr)];
  alignas(64) uint32_t b[kChunk * (kBlock + 1) * kMaxNr];  // one panel's chunk, when B is unpacked as it is used
};

PUYU_INLINE void store_result(float* p, vf v, int64_t n, bool) { store_n(p, v, n); }
PUYU_INLINE void store_result(BF16* p, vf v, int64_t n, [[maybe_unused]] bool rounds) {
#ifdef PUYU_ISA_avx512
  if (rounds && n >= 16) {
    vh h;
    asm("vcvtneps2bf16 %1, %0" : "=v"(h) : "v"(v));
    __builtin_memcpy(p, &h, 32);
    return;
  }
#endif
  store_n(p, v, n);
}

// The tile whose first element is (m0, n0) of C.
template <class T>
void store_tile(const float* c, int64_t nr, int64_t rows, int64_t cols, int64_t m0, int64_t n0, const MatmulOut& o) {
  const int64_t ld = o.ld;
  const bool rounds = features().avx512_bf16;  // the machine rounds to bf16 (and takes numbers below 2^-126 for 0)
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
      store_result(out + r * ld + j, v, n, rounds);
    }
}

// What all jobs of one product share.
struct Product {
  const Micro& m;
  const Form& form;
  const uint32_t *a, *b;
  int64_t M, N, K;
  int64_t rows;  // of a panel of A
  int64_t a_panels, b_panels, chunks;
  const MatmulOut& out;
  const uint32_t* b_at(int64_t chunk, int64_t j) const {
    return b + b_place(chunk, j, b_panels, chunks) * form.b_chunk();
  }
};

// The panels of A that a job has, one after another for each of its panels of B.
struct Place {
  int64_t i0, i1, j0, j1, i = i0, j = j0;
  int64_t tile() const { return (j - j0) * (i1 - i0) + i - i0; }
  void next() {
    if (++i == i1) i = i0, ++j;
  }
};

// One pass over a panel of B reads ahead of itself; the first two of several fetch half of the next panel each, so that
// memory works while all of them compute.
Ahead ahead_of(const Product& p, int64_t chunk, const Place& at) {
  constexpr int64_t kNear = 4096;
  const int64_t passes = at.i1 - at.i0, pass = at.i - at.i0;
  const auto* here = reinterpret_cast<const char*>(p.b_at(chunk, at.j));
  if (passes == 1) return {here + kNear, here + kNear + 64, 128};
  const bool more = at.j + 1 < at.j1, done = !more && chunk + 1 == p.chunks;
  if (pass > 1 || (done && at.j + 1 == p.b_panels)) return nothing_ahead(here);
  const auto* next = reinterpret_cast<const char*>(done   ? p.b_at(0, at.j + 1)
                                                   : more ? p.b_at(chunk, at.j + 1)
                                                          : p.b_at(chunk + 1, at.j0));
  return {next + p.form.b_chunk() * 2 * pass, here, 64};
}

// Chunk `chunk` of K at one place, into the job's tile there.
void run_chunk(const Product& p, int64_t chunk, const Place& at, Scratch& scratch) {
  const Micro& m = p.m;
  const uint32_t* b = p.b_at(chunk, at.j);
  const Ahead ahead = ahead_of(p, chunk, at);
  if (p.form.unpack) {
    if (at.i == at.i0) p.form.unpack(m, scratch.b, b);
    b = scratch.b;
  }
  m.run[imin(p.rows, p.M - at.i * p.rows) - 1](scratch.c + at.tile() * m.mr * m.nr, m.nr,
                                               p.a + (chunk * p.a_panels + at.i) * m.a_chunk(), b,
                                               imin(kChunk, m.blocks(p.K) - chunk * kChunk), chunk > 0, ahead);
}

// A panels [i0, i1) times B panels [j0, j1).
void block_job(const Product& p, int64_t i0, int64_t i1, int64_t j0, int64_t j1, Scratch& scratch) {
  const Micro& m = p.m;
  const int64_t runs = (i1 - i0) * (j1 - j0), last = p.chunks - 1;
  m.begin();
  for (int64_t chunk = 0; chunk < last; ++chunk) {
    Place at{i0, i1, j0, j1};
    for (int64_t r = 0; r < runs; ++r, at.next()) run_chunk(p, chunk, at, scratch);
  }
  with_type(p.out.type, [&](auto tag) {
    using T = decltype(tag);
    Place at{i0, i1, j0, j1}, done = at;
    auto store = [&] {
      store_tile<T>(scratch.c + done.tile() * m.mr * m.nr, m.nr, imin(p.rows, p.M - done.i * p.rows),
                    imin(m.nr, p.N - done.j * m.nr), done.i * p.rows, done.j * m.nr, p.out);
      done.next();
    };
    // A tile leaves a few tiles after it was finished: its own store has reached the cache by then, and the writing
    // overlaps the next products.
    constexpr int64_t kLag = 3;
    for (int64_t r = 0; r < runs; ++r, at.next()) {
      run_chunk(p, last, at, scratch);
      if (r >= kLag) store();
    }
    for (int64_t r = 0; r < imin(runs, kLag); ++r) store();
  });
}

// C is cut into rows x cols jobs of nearly the same size: as few as their size allows, yet several a thread, so that a
// thread that was held up can be helped, and as many for each.
struct Jobs {
  int64_t rows, cols;
};
Jobs jobs_for(const Product& p, int64_t threads) {
  const int64_t rows = ceil_div(p.a_panels, kTileM / p.m.mr);
  int64_t cols = imax(ceil_div(p.b_panels, kTileN / p.m.nr), ceil_div(4 * threads, rows));
  if (rows % threads != 0) cols = ceil_div(cols, threads) * threads;
  return {rows, imin(cols, p.b_panels)};
}

void run_job(const Product& p, const Jobs& jobs, int64_t job, Scratch& scratch) {
  const int64_t r = job % jobs.rows, c = job / jobs.rows;
  block_job(p, p.a_panels * r / jobs.rows, p.a_panels * (r + 1) / jobs.rows, p.b_panels * c / jobs.cols,
            p.b_panels * (c + 1) / jobs.cols, scratch);
}

// Few rows wait for memory: their jobs are runs of it, long ones first, so that it is read from end to end, down to
// single panels, so that no thread waits long for the last.
class Runs {
 public:
  Runs(int64_t panels, int64_t threads) {
    for (int64_t at = 0; at < panels && n_ + 1 < kMost; ++n_) {
      const int64_t share = imax(1, (panels - at) / (2 * threads));
      at += share < kTogether ? share : share / kTogether * kTogether;
      end_[n_] = imin(at, panels);
    }
    if (n_ > 0) end_[n_ - 1] = panels;
  }
  int64_t size() const { return n_; }
  void run(const Product& p, int64_t job, Scratch& scratch) const {
    for (int64_t j = job ? end_[job - 1] : 0; j < end_[job];) {
      const int64_t next = imin(end_[job], (j / kTogether + 1) * kTogether);
      block_job(p, 0, p.a_panels, j, next, scratch);
      j = next;
    }
  }

 private:
  static constexpr int64_t kMost = 1024;
  int64_t n_ = 0;
  int64_t end_[kMost];
};

// Panels of nearly the same number of rows: 16 rows are 8 and 8, not 12 and 4.
int64_t panel_rows(const Micro& m, int64_t M) {
  const int64_t even = ceil_div(M, ceil_div(M, m.mr));
  return ceil_div(even, m.row_step) * m.row_step;
}

void multiply(Ctx& ctx, const Form& form, Operand a, const Operand* b, int64_t N, const void* packed_b,
              const MatmulOut& out) {
  const Micro& m = *form.micro;
  const int64_t M = a.outer, K = a.k, pn = ceil_div(N, m.nr);
  a.panel_rows = panel_rows(m, M);
  const int64_t pm = ceil_div(M, a.panel_rows);
  ScratchScope scope(*ctx.scratch);
  auto* pa = reinterpret_cast<uint32_t*>(ctx.scratch->alloc_array<int32_t>(m.a_size(K, pm)));
  uint32_t* pb = nullptr;
  if (b) pb = reinterpret_cast<uint32_t*>(ctx.scratch->alloc_array<int32_t>(m.b_size(K, pn)));
  const int threads = omp_get_max_threads();
  auto* tiles = per_thread<Scratch>(ctx, threads);
  const Product p{m,  form,        pa, b ? pb : static_cast<const uint32_t*>(packed_b), M, N, K, a.panel_rows, pm,
                  pn, m.chunks(K), out};
  const bool few = pm <= 2;
  const Runs runs(few ? pn : 0, threads);
  const int64_t at_once = a.k_contiguous ? 1 : 8;  // panels that a thread packs together
  const Jobs jobs = few ? Jobs{1, runs.size()} : jobs_for(p, threads);
#pragma omp parallel if (M * N * K > 200000)
  {
    if (b) {
#pragma omp for schedule(static) nowait
      for (int64_t i = 0; i < pn; ++i) pack_b(m, pb, *b, i, pn);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < pm; i += at_once) form.pack_a(m, pa, a, i, imin(pm, i + at_once), pm, form.row_scale);
#pragma omp for schedule(dynamic, 1)
    for (int64_t job = 0; job < jobs.rows * jobs.cols; ++job) {
      Scratch& tile = tiles[omp_get_thread_num()];
      few ? runs.run(p, job, tile) : run_job(p, jobs, job, tile);
    }
  }
}

}  // namespace

void pack_plain(const Micro& m, uint32_t* dst, const Operand& o, int64_t first, int64_t last, int64_t panels, float*) {
  pack_a(m, dst, o, first, last, panels);
}
void matmul(Ctx& ctx, const Operand& a, const Operand& b, const uint32_t* packed_b, const MatmulOut& out) {
  const Form form{&micro_for(a.type == DType::kBF16 && b.type == DType::kBF16), pack_plain};
  multiply(ctx, form, a, packed_b ? nullptr : &b, b.outer, packed_b, out);
}
void matmul(Ctx& ctx, const Form& form, const Operand& a, int64_t N, const void* packed_b, const MatmulOut& out) {
  multiply(ctx, form, a, nullptr, N, packed_b, out);
}

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor w, Tensor residual) {
  if (w.dtype == DType::kI8) return linear_int8(ctx, y, x, w, residual);
  if (w.layout == Layout::kPackedA8) return linear_w4a8(ctx, y, x, w, residual);
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
