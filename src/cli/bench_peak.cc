#include "cli/bench_peak.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/check.h"
#include "base/parallel.h"
#include "kernels/cpu/table.h"
#include "tensor/arena.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace puyu {
namespace {
using Clock = std::chrono::steady_clock;

// An arithmetic loop of `rounds` rounds; `ops` operations a round. Its result leaves through `sink`, so that the
// compiler keeps the work.
struct Loop {
  const char *name, *how, *unit;
  double ops;
  void (*run)(int64_t rounds, void* sink);
};

// All accumulators, each to a place of its own: of two stores to one place the compiler drops the first, and with it
// the work behind it.
template <class V, int N>
void keep(const V (&acc)[N], void* sink) {
  static_assert(sizeof acc <= 4096, "the size of sink");
  __builtin_memcpy(sink, acc, sizeof acc);
}

typedef float Vector __attribute__((vector_size(16)));  // what every machine has
void run_plain(int64_t rounds, void* sink) {
  Vector acc[8] = {}, a = Vector{} + 0.999f, b = Vector{} + 1e-3f;
  for (Vector& x : acc) asm volatile("" : "+m"(x));  // the compiler must not see that all are equal
  for (int64_t i = 0; i < rounds; ++i)
    for (Vector& x : acc) x = x * a + b;
  keep(acc, sink);
}

#if defined(__x86_64__)
// Enough independent accumulators to hide the latency of two units: 2 x 4 or 2 x 5 cycles. OPAQUE keeps the compiler
// from seeing that they all hold the same value and computing one.
constexpr int kChains = 12;
#define OPAQUE(x) asm volatile("" : "+v"(x))

__attribute__((target("avx2,fma"))) void run_fma256(int64_t rounds, void* sink) {
  __m256 acc[kChains], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
  for (__m256& x : acc) {
    x = _mm256_setzero_ps();
    OPAQUE(x);
  }
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = _mm256_fmadd_ps(acc[k], a, b);
  keep(acc, sink);
}

__attribute__((target("avx512f"))) void run_fma512(int64_t rounds, void* sink) {
  __m512 acc[kChains], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
  for (__m512& x : acc) {
    x = _mm512_setzero_ps();
    OPAQUE(x);
  }
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = _mm512_fmadd_ps(acc[k], a, b);
  keep(acc, sink);
}

__attribute__((target("avx512f,avx512bf16"))) void run_dpbf16(int64_t rounds, void* sink) {
  __m512 acc[kChains];
  __m512i one = _mm512_set1_epi32(0x3f803f80);  // pairs of bf16 1.0
  for (__m512& x : acc) {
    x = _mm512_setzero_ps();
    OPAQUE(x);
  }
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = _mm512_dpbf16_ps(acc[k], (__m512bh)one, (__m512bh)one);
  keep(acc, sink);
}

__attribute__((target("avx512f,avx512vnni"))) void run_vnni(int64_t rounds, void* sink) {
  __m512i acc[kChains], a = _mm512_set1_epi32(0x01010101);
  for (__m512i& x : acc) {
    x = _mm512_setzero_si512();
    OPAQUE(x);
  }
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = _mm512_dpbusd_epi32(acc[k], a, a);
  keep(acc, sink);
}

// Four accumulator tiles of 16 x 16, zero operands: the units do not look at values.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t columns[16] = {64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
};
__attribute__((target("amx-tile"))) void begin_tiles() {
  static const TileConfig config;  // static: GCC 12's intrinsic tells the optimiser of its first 8 bytes only
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
}
__attribute__((target("amx-tile"))) void end_tiles(void* sink) {
  _tile_stored(0, sink, 64);
  _tile_release();
}
__attribute__((target("amx-tile,amx-bf16"))) void run_amx_bf16(int64_t rounds, void* sink) {
  begin_tiles();
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  end_tiles(sink);
}
__attribute__((target("amx-tile,amx-int8"))) void run_amx_int8(int64_t rounds, void* sink) {
  begin_tiles();
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbssd(0, 4, 5);
    _tile_dpbssd(1, 4, 5);
    _tile_dpbssd(2, 4, 5);
    _tile_dpbssd(3, 4, 5);
  }
  end_tiles(sink);
}
#endif

// The loops of this machine, within what PUYU_ISA allows the kernels.
std::vector<Loop> loops() {
#if defined(__x86_64__)
  const cpu::Features& f = cpu::features();
  std::vector<Loop> out;
  if (f.avx512)
    out.push_back({"f32", "AVX-512 FMA", "FLOP/s", kChains * 16 * 2, run_fma512});
  else if (f.avx2)
    out.push_back({"f32", "AVX2 FMA", "FLOP/s", kChains * 8 * 2, run_fma256});
  if (f.avx512_bf16) out.push_back({"bf16", "AVX-512 BF16", "FLOP/s", kChains * 32 * 2, run_dpbf16});
  if (f.amx_bf16) out.push_back({"bf16", "AMX tiles", "FLOP/s", 4 * 16 * 16 * 32 * 2, run_amx_bf16});
  if (f.avx512 && __builtin_cpu_supports("avx512vnni"))
    out.push_back({"int8", "AVX-512 VNNI", "op/s", kChains * 64 * 2, run_vnni});
  if (f.amx_bf16) out.push_back({"int8", "AMX tiles", "op/s", 4 * 16 * 16 * 64 * 2, run_amx_int8});
  if (!out.empty()) return out;
#endif
  return {{"f32", "128-bit vectors", "FLOP/s", 8 * 4 * 2, run_plain}};
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Operations a second of `threads` threads that each run the loop once.
double rate(const Loop& loop, int64_t rounds, int threads) {
  auto start = Clock::now();
#pragma omp parallel num_threads(threads)
  {
    alignas(64) char sink[4096];
    loop.run(rounds, sink);
    asm volatile("" ::"r"(sink) : "memory");
  }
  return loop.ops * static_cast<double>(rounds) * threads / seconds_since(start);
}

// Rounds that take one thread about 50 ms.
int64_t calibrate(const Loop& loop) {
  int64_t rounds = 1000;
  for (;; rounds *= 4) {
    double took = loop.ops * static_cast<double>(rounds) / rate(loop, rounds, 1);
    if (took > 0.02) return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rounds) * 0.05 / took));
  }
}

std::vector<int> thread_counts() {
  int all = num_threads();
  return all > 1 ? std::vector<int>{1, all} : std::vector<int>{1};
}

constexpr size_t kStreamBytes = size_t{512} << 20;  // per thread, in turns: above what a core's caches hold

constexpr size_t kAhead = 4096;  // bytes asked for before they are read: one core alone keeps too few lines under way

uint64_t read_stream(const char* p, size_t n) {
  typedef uint64_t Words __attribute__((vector_size(64)));
  Words sum[2] = {};
  for (size_t i = 0; i + 128 <= n; i += 128) {
    __builtin_prefetch(p + i + kAhead), __builtin_prefetch(p + i + kAhead + 64);
    for (int k = 0; k < 2; ++k) {
      Words w;
      __builtin_memcpy(&w, p + i + 64 * k, 64);
      sum[k] ^= w;
    }
  }
  Words all = sum[0] ^ sum[1];
  return all[0] ^ all[1] ^ all[2] ^ all[3] ^ all[4] ^ all[5] ^ all[6] ^ all[7];
}

double read_rate(const char* data, size_t bytes, int threads) {
  uint64_t sink = 0;
  auto start = Clock::now();
#pragma omp parallel num_threads(threads) reduction(^ : sink)
  {
    size_t share = bytes / static_cast<size_t>(threads);
    sink ^= read_stream(data + share * static_cast<size_t>(omp_get_thread_num()), share);
  }
  double took = seconds_since(start);
  asm volatile("" ::"r"(sink));
  return static_cast<double>(bytes) / took;
}

}  // namespace

Spread measure(int rounds, const std::function<double()>& f) {
  std::vector<double> v;
  for (int i = 0; i < std::max(rounds, 1); ++i) v.push_back(f());
  return spread_of(std::move(v));
}
Spread spread_of(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  size_t m = v.size() / 2;
  return {v.size() % 2 ? v[m] : (v[m - 1] + v[m]) / 2, v.front(), v.back()};
}

std::vector<Limit> measure_arithmetic(int rounds) {
  std::vector<Limit> out;
  for (const Loop& loop : loops()) {
    int64_t n = calibrate(loop);
    for (int threads : thread_counts()) {
      Spread s = measure(rounds, [&] { return rate(loop, n, threads); });
      out.push_back({loop.name, loop.how, threads, loop.unit, s});
    }
  }
  return out;
}

std::vector<Limit> measure_reading(int rounds) {
  const size_t bytes = kStreamBytes * 2;
  Arena arena("read", static_cast<int64_t>(bytes) + 4096);  // huge pages, as weights have them
  char* data = static_cast<char*>(arena.alloc(DType::kU8, {static_cast<int64_t>(bytes)}).data);
  parallel_for(static_cast<int64_t>(bytes >> 20),
               [&](int64_t i) { std::fill_n(data + (i << 20), 1 << 20, static_cast<char>(i)); });
  std::vector<Limit> out;
  for (int threads : thread_counts()) {
    Spread s = measure(rounds, [&] { return read_rate(data, bytes, threads); });
    out.push_back({"read", "1 GiB stream", threads, "B/s", s});
  }
  return out;
}

const Limit* best_limit(const std::vector<Limit>& limits, const std::string& name) {
  const Limit* best = nullptr;
  for (const Limit& l : limits)
    if (l.name == name && (!best || l.rate.median > best->rate.median)) best = &l;
  return best;
}

}  // namespace puyu
