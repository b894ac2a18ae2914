// Measures every CUDA kernel against limits measured in the same run, and writes one JSON and one Markdown file.
//   gpu_bench OUT.json OUT.md [--seconds=240]: rows that do not fit the time say so
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "kernels/kernels.h"
#include "tensor/device.h"

namespace puyu {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

enum class Bound { kCompute, kMemory };
struct Row {
  std::string name;
  Bound bound = Bound::kMemory;
  double work = 0;  // FLOP or bytes of one call
  std::vector<double> seconds;
  std::string error;
  double median() const { return seconds[seconds.size() / 2]; }
  double rate() const { return work / median(); }
};

struct Bench {
  Stream stream = stream_create();
  Arena arena{"bench", int64_t{24} << 30, Device::kCuda}, scratch{"scratch", int64_t{12} << 30, Device::kCuda};
  Ctx ctx{Device::kCuda, &scratch, stream};
  Clock::time_point start = Clock::now();
  double budget = 240;
  std::vector<Row> rows;

  Tensor filled(DType t, std::initializer_list<int64_t> shape, float value) {
    Tensor x = arena.alloc(t, shape);
    fill(ctx, x, value);
    return x;
  }
  // Numbers that differ, so that no kernel profits from equal ones (zeros cost a GPU less power).
  Tensor random(DType t, std::initializer_list<int64_t> shape, float scale = 1) {
    constexpr int64_t kPeriod = 1 << 20;
    Tensor x = arena.alloc(t, shape);
    std::vector<float> some(kPeriod);
    uint64_t s = 88172645463325252u;
    for (float& v : some) {
      s ^= s << 13, s ^= s >> 7, s ^= s << 17;
      v = scale * (static_cast<float>(s >> 40) / 8388608.0f - 1.0f);
    }
    ScratchScope scope(scratch);
    Tensor f = scratch.alloc(DType::kF32, {kPeriod}), h = scratch.alloc(t, {kPeriod});
    copy_bytes(f.data, some.data(), f.nbytes(), stream);
    synchronize(stream);
    cast(ctx, h, f);
    const int64_t size = dtype_size(t);
    for (int64_t i = 0; i < x.numel(); i += kPeriod)
      copy_bytes(static_cast<char*>(x.data) + i * size, h.data, std::min(kPeriod, x.numel() - i) * size, stream);
    synchronize(stream);
    return x;
  }
  int32_t* indices(const std::vector<int32_t>& v) {
    auto* p = arena.alloc_array<int32_t>(static_cast<int64_t>(v.size()));
    copy_bytes(p, v.data(), static_cast<int64_t>(v.size() * sizeof(int32_t)), stream);
    synchronize(stream);
    return p;
  }

  // Medians of 5 runs of about 40 ms each. Memory that `setup` takes is given back.
  void row(const std::string& name, Bound bound, double work, const std::function<std::function<void()>()>& setup) {
    Row r{name, bound, work, {}, {}};
    ScratchScope scope(arena);
    try {
      if (seconds_since(start) > budget) fail("no time left for it in this run");
      const auto call = setup();
      call();
      synchronize(stream);
      auto t = Clock::now();
      call();
      synchronize(stream);
      const auto times = static_cast<int64_t>(std::clamp(0.04 / std::max(seconds_since(t), 1e-6), 1.0, 2000.0));
      for (int repeat = 0; repeat < 5; ++repeat) {
        t = Clock::now();
        for (int64_t i = 0; i < times; ++i) call();
        synchronize(stream);
        r.seconds.push_back(seconds_since(t) / static_cast<double>(times));
      }
      std::sort(r.seconds.begin(), r.seconds.end());
    } catch (const Error& e) { r.error = e.what(); }
    std::printf("%-44s %s\n", name.c_str(), r.error.empty() ? "measured" : r.error.c_str());
    std::fflush(stdout);
    rows.push_back(std::move(r));
  }
};

constexpr DType kAct = DType::kBF16;
std::string dims(int64_t M, int64_t N, int64_t K) { return cat(" ", M, "x", N, "x", K); }

void limits(Bench& b) {
  b.row("limit: cuBLASLt bf16 8192x8192x8192", Bound::kCompute, 2.0 * 8192 * 8192 * 8192, [&] {
    Tensor x = b.random(kAct, {8192, 8192}), w = b.random(kAct, {8192, 8192}), y = b.arena.alloc(kAct, {8192, 8192});
    return [=, &b] { linear(b.ctx, y, x, w); };
  });
  const int64_t n = int64_t{1} << 29;
  b.row("limit: copy of 2 GiB", Bound::kMemory, 8.0 * n, [&] {
    Tensor x = b.filled(DType::kF32, {n}, 1), y = b.arena.alloc(DType::kF32, {n});
    return [=, &b] { copy_tensor(y, x, b.stream); };
  });
}

void products(Bench& b) {
  const int64_t N = 4096, K = 4096;
  for (int64_t M : {int64_t{1}, int64_t{16}, int64_t{256}, int64_t{8192}}) {
    const Bound bound = M < 200 ? Bound::kMemory : Bound::kCompute;
    const auto work = [&](double bytes_a_weight) {
      return bound == Bound::kMemory ? bytes_a_weight * N * K : 2.0 * M * N * K;
    };
    for (bool invariant : {false, true})
      b.row(cat("linear bf16", dims(M, N, K), invariant ? " batch-invariant" : ""), bound, work(2), [&, invariant] {
        Tensor x = b.random(kAct, {M, K}), w = b.random(kAct, {N, K}), y = b.arena.alloc(kAct, {M, N});
        return [=, &b] {
          Ctx ctx = b.ctx;
          ctx.batch_invariant = invariant;
          linear(ctx, y, x, w);
        };
      });
    b.row(cat("linear w8a8", dims(M, N, K)), bound, work(1), [&] {
      Tensor x = b.random(kAct, {M, K}), w = b.random(kAct, {N, K}), y = b.arena.alloc(kAct, {M, N});
      Tensor q = b.arena.alloc(DType::kI8, {N, K}), s = b.arena.alloc(DType::kF32, {N});
      quantize_rows(b.ctx, q, s, w);
      Tensor p = pack_weight_int8(b.ctx, b.arena.alloc(DType::kU8, {packed_weight_bytes(b.ctx, q)}).data, q, s);
      return [=, &b] { linear(b.ctx, y, x, p); };
    });
    for (DType act : {kAct, DType::kI8})
      b.row(cat(act == kAct ? "linear w4a16" : "linear w4a8", dims(M, N, K)), bound, work(0.5), [&, act] {
        Tensor x = b.random(kAct, {M, K}), w = b.random(kAct, {N, K}), y = b.arena.alloc(kAct, {M, N});
        Tensor q = b.arena.alloc(DType::kU8, {N, K}), s = b.arena.alloc(DType::kF32, {N, K / kQuantGroup}),
               z = b.arena.alloc(DType::kF32, {N, K / kQuantGroup});
        quantize_groups(b.ctx, q, s, z, w);
        void* to = b.arena.alloc(DType::kU8, {packed_int4_bytes(b.ctx, N, K, act)}).data;
        Tensor p = pack_weight_int4(b.ctx, to, q, s, z, act);
        return [=, &b] { linear(b.ctx, y, x, p); };
      });
  }
  const int64_t M = 8192;
  b.row(cat("linear_dx bf16", dims(M, N, K)), Bound::kCompute, 2.0 * M * N * K, [&] {
    Tensor dx = b.arena.alloc(kAct, {M, K}), w = b.random(kAct, {N, K}), dy = b.random(kAct, {M, N});
    return [=, &b] { linear_dx(b.ctx, dx, dy, w); };
  });
  b.row(cat("linear_dw bf16", dims(M, N, K)), Bound::kCompute, 2.0 * M * N * K, [&] {
    Tensor dw = b.filled(DType::kF32, {N, K}, 0), x = b.random(kAct, {M, K}), dy = b.random(kAct, {M, N}, 1e-3f);
    return [=, &b] { linear_dw(b.ctx, dw, dy, x); };
  });
}

void attentions(Bench& b) {
  const Heads h{32, 8, 128};
  const int64_t T = 4096;
  const double causal = 2.0 * T * T * static_cast<double>(h.q * h.dim);
  b.row("attention bf16 T 4096, 32/8 heads of 128", Bound::kCompute, causal, [&] {
    Tensor qkv = b.random(kAct, {T, h.row()}), o = b.arena.alloc(kAct, {T, h.q * h.dim}),
           lse = b.arena.alloc(DType::kF32, {T, h.q});
    const int32_t* cu = b.indices({0, static_cast<int32_t>(T)});
    return [=, &b] { attention(b.ctx, o, lse, qkv, h, PackedSeqs{cu, 1, T}); };
  });
  b.row("attention_backward, the same", Bound::kCompute, 2.5 * causal, [&] {
    Tensor qkv = b.random(kAct, {T, h.row()}), o = b.arena.alloc(kAct, {T, h.q * h.dim}),
           lse = b.arena.alloc(DType::kF32, {T, h.q}), d = b.random(kAct, {T, h.q * h.dim}),
           dqkv = b.arena.alloc(kAct, {T, h.row()});
    const int32_t* cu = b.indices({0, static_cast<int32_t>(T)});
    attention(b.ctx, o, lse, qkv, h, PackedSeqs{cu, 1, T});
    return [=, &b] { attention_backward(b.ctx, dqkv, d, o, lse, qkv, h, PackedSeqs{cu, 1, T}); };
  });
  for (int bits : {16, 8, 4})
    for (int64_t n : {int64_t{1}, int64_t{64}}) {
      const int64_t past = n == 1 ? 32768 : 4096, pages = past / kPage + 1;
      const int64_t row = bits == 16 ? h.dim * 2 : kv_row_bytes(h.dim, bits);
      b.row(cat("decode attention, ", n, " x ", past, " keys, kv ", bits, " bits"), Bound::kMemory,
            2.0 * static_cast<double>(n * past * h.kv * row), [&, bits, n, past, pages] {
              const DType t = bits == 16 ? kAct : DType::kU8;
              const int64_t width = bits == 16 ? h.dim : row;
              Tensor k = b.arena.alloc(t, {n * pages, h.kv, kPage, width}),
                     v = b.arena.alloc(t, {n * pages, h.kv, kPage, width});
              for (Tensor p : {k, v}) {
                Tensor bytes = p;
                bytes.dtype = DType::kF32, bytes.rank = 1, bytes.shape[0] = p.nbytes() / 4;
                fill(b.ctx, bytes, 0.01f);
              }
              std::vector<int32_t> cu, before(static_cast<size_t>(n), static_cast<int32_t>(past)), table;
              for (int64_t i = 0; i <= n; ++i) cu.push_back(static_cast<int32_t>(i));
              for (int64_t i = 0; i < n * pages; ++i) table.push_back(static_cast<int32_t>(i));
              Tensor qkv = b.random(kAct, {n, h.row()}), o = b.arena.alloc(kAct, {n, h.q * h.dim});
              const PagedSeqs s{b.indices(cu), b.indices(before), b.indices(table), n, pages, k, v};
              return [=, &b] {
                kv_append(b.ctx, qkv, h, s);
                attention(b.ctx, o, qkv, h, s);
              };
            });
    }
}

void rows_and_elements(Bench& b) {
  const int64_t T = 16384, D = 4096, F = 14336;
  const auto act = [&](int64_t rows, int64_t cols) { return b.random(kAct, {rows, cols}); };
  b.row("rmsnorm bf16 16384x4096", Bound::kMemory, 4.0 * T * D, [&] {
    Tensor x = act(T, D), y = b.arena.alloc(kAct, {T, D}), w = b.random(kAct, {D}), r = b.arena.alloc(DType::kF32, {T});
    return [=, &b] { rmsnorm(b.ctx, y, r, x, w, 1e-5f); };
  });
  b.row("rmsnorm_backward bf16 16384x4096", Bound::kMemory, 8.0 * T * D, [&] {
    Tensor x = act(T, D), dy = act(T, D), dx = act(T, D), w = b.random(kAct, {D}), r = b.filled(DType::kF32, {T}, 1),
           dw = b.filled(DType::kF32, {D}, 0);
    return [=, &b] { rmsnorm_backward(b.ctx, dx, dw, dy, x, w, r); };
  });
  b.row("swiglu bf16 16384x14336", Bound::kMemory, 6.0 * T * F, [&] {
    Tensor g = act(T, F), u = act(T, F), y = b.arena.alloc(kAct, {T, F});
    return [=, &b] { swiglu(b.ctx, y, g, u); };
  });
  b.row("swiglu_backward bf16 16384x14336", Bound::kMemory, 10.0 * T * F, [&] {
    Tensor g = act(T, F), u = act(T, F), d = act(T, F), dg = b.arena.alloc(kAct, {T, F}),
           du = b.arena.alloc(kAct, {T, F});
    return [=, &b] { swiglu_backward(b.ctx, dg, du, d, g, u); };
  });
  b.row("rope bf16 16384 rows, 32/8 heads of 128", Bound::kMemory, 4.0 * T * 40 * 128, [&] {
    const Heads h{32, 8, 128};
    Tensor qkv = act(T, h.row()), table = b.filled(DType::kF32, {T, h.dim}, 0.70710678f);
    const int32_t* at = b.indices(std::vector<int32_t>(static_cast<size_t>(T), 5));
    return [=, &b] { rope(b.ctx, qkv, at, table, h); };
  });
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < T; ++i) ids.push_back(static_cast<int32_t>(i * 7919 % 5000));
  b.row("embedding bf16 16384x4096", Bound::kMemory, 4.0 * T * D, [&] {
    Tensor table = act(5000, D), y = b.arena.alloc(kAct, {T, D});
    const int32_t* at = b.indices(ids);
    return [=, &b] { embedding(b.ctx, y, table, at); };
  });
  b.row("embedding_backward bf16 16384x4096", Bound::kMemory, 2.0 * T * D + 8.0 * 5000 * D, [&] {
    Tensor table = b.filled(DType::kF32, {5000, D}, 0), dy = act(T, D);
    const int32_t* at = b.indices(ids);
    return [=, &b] { embedding_backward(b.ctx, table, dy, at); };
  });
  b.row("add_bias_backward bf16 16384x4096", Bound::kMemory, 2.0 * T * D, [&] {
    Tensor db = b.filled(DType::kF32, {D}, 0), dy = act(T, D);
    return [=, &b] { add_bias_backward(b.ctx, db, dy); };
  });
  const int64_t n = int64_t{1} << 28;
  b.row("adamw 2^28", Bound::kMemory, 30.0 * n, [&] {
    Tensor w = b.random(DType::kF32, {n}), m = b.random(DType::kF32, {n}), v = b.filled(DType::kF32, {n}, 0.01f),
           g = b.random(DType::kF32, {n}), copy = b.arena.alloc(kAct, {n});
    return [=, &b] { adamw(b.ctx, w, copy, m, v, g, {1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1}); };
  });
  b.row("sum_squares f32 2^28", Bound::kMemory, 4.0 * n, [&] {
    Tensor x = b.random(DType::kF32, {n});
    return [=, &b] { sum_squares(b.ctx, x); };
  });
  const int64_t V = 92544, C = 4096;
  b.row("fused_cross_entropy bf16 4096 tokens, D 4096, V 92544", Bound::kCompute, 6.0 * C * D * V, [&] {
    Tensor x = act(C, D), w = b.random(kAct, {V, D}, 0.02f), dx = b.arena.alloc(kAct, {C, D}),
           dw = b.filled(DType::kF32, {V, D}, 0), logp = b.arena.alloc(DType::kF32, {C}),
           coef = b.filled(DType::kF32, {C}, -1e-3f);
    const int32_t* target = b.indices(std::vector<int32_t>(static_cast<size_t>(C), 3));
    return [=, &b] { fused_cross_entropy(b.ctx, {logp, {}, {}}, dx, dw, x, w, target, coef.as<float>()); };
  });
}

std::string number(double v) {
  char buf[32];
  std::snprintf(buf, sizeof buf, "%.3g", v);
  return buf;
}

void write(const Bench& b, const std::string& json_path, const std::string& md_path) {
  const Row &flops = b.rows[0], &bytes = b.rows[1];
  Json all = Json::object(), list = Json::array();
  all["device"] = device_name();
  std::string md = cat("Measured on ", device_name(), "; medians of 5, spread = (slowest - fastest) / median.\n\n",
                       "| kernel | ms | spread | rate | share of the limit |\n|---|---|---|---|---|\n");
  for (const Row& r : b.rows) {
    Json j = Json::object();
    j["name"] = r.name, j["unit"] = r.bound == Bound::kCompute ? "FLOP/s" : "B/s";
    if (!r.error.empty()) {
      j["error"] = r.error;
      md += cat("| ", r.name, " | not measured: ", r.error, " | | | |\n");
    } else {
      const Row& limit = r.bound == Bound::kCompute ? flops : bytes;
      const double share = limit.error.empty() ? r.rate() / limit.rate() : 0;
      const double spread = (r.seconds.back() - r.seconds.front()) / r.median();
      j["seconds"] = r.median(), j["spread"] = spread, j["rate"] = r.rate(), j["share_of_limit"] = share;
      md += cat("| ", r.name, " | ", number(r.median() * 1e3), " | ", number(spread * 100), " % | ",
                number(r.rate() / 1e12), r.bound == Bound::kCompute ? " TFLOP/s" : " TB/s", " | ", number(share * 100),
                " % |\n");
    }
    list.push(std::move(j));
  }
  all["rows"] = std::move(list);
  write_file(json_path, all.dump(2) + "\n");
  write_file(md_path, md);
}

int run(int argc, char** argv) {
  if (argc < 3) fail("usage: gpu_bench OUT.json OUT.md [--seconds=240]");
  if (device_count() == 0) fail("[gpu_bench] no GPU here: nothing was measured");
  Bench b;
  if (argc > 3 && std::strncmp(argv[3], "--seconds=", 10) == 0) b.budget = std::atof(argv[3] + 10);
  limits(b), products(b), attentions(b), rows_and_elements(b);
  write(b, argv[1], argv[2]);
  return 0;
}

}  // namespace
}  // namespace puyu

int main(int argc, char** argv) {
  try {
    return puyu::run(argc, argv);
  } catch (const puyu::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
