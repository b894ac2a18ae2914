// Products, norms, losses, rows and the optimizer.
#include "kernels/kernels_test_util.h"

namespace puyu {
namespace {

TEST_P(Kernels, Linear) {
  for (auto [M, N, K] : {std::array<int64_t, 3>{1, 1, 1},
                         {3, 5, 7},
                         {1, 48, 64},
                         {33, 65, 130},
                         {100, 70, 33},
                         {40, 300, 600},
                         {200, 33, 1100}}) {
    SCOPED_TRACE(::testing::Message() << "M=" << M << " N=" << N << " K=" << K);
    Vec<double> x = random(M * K), w = random(N * K), dy = random(M * N), r = random(M * N);
    Tensor X = put(x, {M, K}), W = put(w, {N, K}), DY = put(dy, {M, N}), Y = blank({M, N}, dtype),
           YF = blank({M, N}, DType::kF32);
    Vec<double> y = ref::linear(x, w, M, N, K), yr = y;
    linear(ctx, Y, X, W);
    near(Y, y, "y");
    linear(ctx, YF, X, W);
    near(YF, y, "y f32");
    for (size_t i = 0; i < yr.size(); ++i) yr[i] += r[i];
    linear(ctx, Y, X, W, put(r, {M, N}));
    near(Y, yr, "y + residual");
    Tensor packed = pack_weight(ctx, arena.alloc(DType::kU8, {packed_weight_bytes(ctx, W)}).data, W),
           YP = blank({M, N}, DType::kF32);
    linear(ctx, YP, X, packed);
    EXPECT_EQ(get(YP), get(YF)) << "packed weights change bits";

    Vec<double> dx(M * K), dw(N * K);
    for (int64_t m = 0; m < M; ++m)
      for (int64_t n = 0; n < N; ++n)
        for (int64_t k = 0; k < K; ++k)
          dx[m * K + k] += dy[m * N + n] * w[n * K + k], dw[n * K + k] += dy[m * N + n] * x[m * K + k];
    Tensor DX = blank({M, K}, dtype), DW = zeros({N, K});
    linear_dx(ctx, DX, DY, W);
    near(DX, dx, "dx");
    linear_dw(ctx, DW, DY, X);
    near(DW, dw, "dw");
    linear_dw(ctx, DW, DY, X);
    for (double& v : dw) v *= 2;
    near(DW, dw, "dw accumulates");
  }
}

TEST_P(Kernels, LinearInt8) {
  for (auto [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {33, 65, 130}, {40, 300, 600}, {70, 33, 2100}}) {
    SCOPED_TRACE(::testing::Message() << "M=" << M << " N=" << N << " K=" << K);
    Vec<double> x = random(M * K), w = random(N * K), r = random(M * N), y(M * N);
    for (int64_t k = 0; k < K; ++k) x[k] = 0;  // a row of zeros
    Tensor X = put(x, {M, K}), W = put(w, {N, K}), YF = blank({M, N}, DType::kF32), Y = blank({M, N}, dtype);
    Tensor xq = arena.alloc(DType::kI8, {M, K}), xs = arena.alloc(DType::kF32, {M});
    Tensor wq = arena.alloc(DType::kI8, {N, K}), ws = arena.alloc(DType::kF32, {N});
    quantize_rows(ctx, xq, xs, X), quantize_rows(ctx, wq, ws, W);
    for (int64_t i = 0; i < N * K; ++i)
      EXPECT_LE(std::abs(w[i] - wq.as<int8_t>()[i] * ws.as<float>()[i / K]), 0.5001 * ws.as<float>()[i / K]) << i;
    for (int64_t m = 0; m < M; ++m)
      for (int64_t n = 0; n < N; ++n) {
        int64_t sum = 0;
        for (int64_t k = 0; k < K; ++k) sum += xq.as<int8_t>()[m * K + k] * wq.as<int8_t>()[n * K + k];
        y[m * N + n] = static_cast<double>(sum) * xs.as<float>()[m] * ws.as<float>()[n];
      }
    Tensor packed = pack_weight_int8(ctx, arena.alloc(DType::kU8, {packed_weight_bytes(ctx, wq)}).data, wq, ws);
    linear(ctx, YF, X, packed);
    const Vec<double> got = get(YF);
    for (int64_t i = 0; i < M * N; ++i) EXPECT_NEAR(got[i], y[i], 1e-6 * std::abs(y[i])) << i;  // integers are exact
    for (int64_t i = 0; i < M * N; ++i) y[i] += r[i];
    linear(ctx, Y, X, packed, put(r, {M, N}));
    near(Y, y, "y + residual");
  }
}

TEST_P(Kernels, LinearInt4) {
  for (auto [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {33, 65, 130}, {40, 300, 600}, {500, 33, 1100}}) {
    SCOPED_TRACE(::testing::Message() << "M=" << M << " N=" << N << " K=" << K);
    const int64_t groups = (K + kQuantGroup - 1) / kQuantGroup;
    Vec<double> x = random(M * K), w = random(N * K), r = random(M * N), rounded(N * K);
    Tensor X = put(x, {M, K}), W = put(w, {N, K}), Y = blank({M, N}, dtype);
    Tensor q = arena.alloc(DType::kU8, {N, K}), s = arena.alloc(DType::kF32, {N, groups}),
           z = arena.alloc(DType::kF32, {N, groups});
    quantize_groups(ctx, q, s, z, W);
    for (int64_t i = 0; i < N * K; ++i) {
      const int64_t g = i / K * groups + i % K / kQuantGroup;
      const int number = static_cast<uint8_t*>(q.data)[i];
      ASSERT_LE(number, 15);
      rounded[i] = (number - z.as<float>()[g]) * s.as<float>()[g];
      EXPECT_LE(std::abs(w[i] - rounded[i]), 1.001 * s.as<float>()[g]) << i;  // value and zero round apart
      if (dtype == DType::kBF16) rounded[i] = to_float(to_bf16(static_cast<float>(rounded[i])));
    }
    Vec<double> y = ref::linear(x, rounded, M, N, K);
    Tensor packed =
        pack_weight_int4(ctx, arena.alloc(DType::kU8, {packed_int4_bytes(ctx, N, K, dtype)}).data, q, s, z, dtype);
    linear(ctx, Y, X, packed);
    near(Y, y, "y");
    for (int64_t m : {int64_t{0}, M - 1}) {
      Tensor P = blank({1, N}, dtype);
      linear(ctx, P, X.rows(m, m + 1), packed);
      EXPECT_EQ(get(P), get(Y.rows(m, m + 1))) << "row " << m;
    }
    for (int64_t i = 0; i < M * N; ++i) y[i] += r[i];
    linear(ctx, Y, X, packed, put(r, {M, N}));
    near(Y, y, "y + residual");
  }
}

TEST_P(Kernels, LinearInt4ByInt8) {
  for (auto [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {33, 65, 130}, {40, 300, 600}, {500, 33, 1100}}) {
    SCOPED_TRACE(::testing::Message() << "M=" << M << " N=" << N << " K=" << K);
    const int64_t groups = (K + kQuantGroup - 1) / kQuantGroup;
    Vec<double> x = random(M * K), w = random(N * K), r = random(M * N);
    for (int64_t k = 0; k < K; ++k) x[k] = 0;  // a row of zeros
    // What the activations become, by the definition. Products next to a half round up or down, with or without FMA:
    // none are left.
    Vec<double> rounded(M * K);
    for (int64_t from = 0; from < M * K; from += std::min(kQuantGroup, K - from % K)) {
      const int64_t n = std::min(kQuantGroup, K - from % K);
      float most = 0;
      for (int64_t i = 0; i < n; ++i) most = std::max(most, static_cast<float>(std::abs(x[from + i])));
      const float inv = most > 0 ? 127 / most : 0;
      for (int64_t i = from; i < from + n; ++i) {
        if (std::abs(x[i] * inv - std::floor(x[i] * inv) - 0.5) < 1e-4) x[i] = 0;
        rounded[i] = std::nearbyint(x[i] * inv) * static_cast<double>(most / 127);
      }
    }
    Tensor X = put(x, {M, K}), W = put(w, {N, K}), Y = blank({M, N}, dtype), YF = blank({M, N}, DType::kF32);
    Tensor q = arena.alloc(DType::kU8, {N, K}), s = arena.alloc(DType::kF32, {N, groups}),
           z = arena.alloc(DType::kF32, {N, groups});
    quantize_groups(ctx, q, s, z, W);
    for (int64_t i = 0; i < N * K; ++i) {
      const int64_t g = i / K * groups + i % K / kQuantGroup;
      w[i] = (static_cast<uint8_t*>(q.data)[i] - z.as<float>()[g]) * static_cast<double>(s.as<float>()[g]);
    }
    Vec<double> y = ref::linear(rounded, w, M, N, K);
    Tensor packed = pack_weight_int4(ctx, arena.alloc(DType::kU8, {packed_int4_bytes(ctx, N, K, DType::kI8)}).data, q,
                                     s, z, DType::kI8);
    linear(ctx, YF, X, packed);
    const Vec<double> got = get(YF);
    double largest = 0;
    for (double v : y) largest = std::max(largest, std::abs(v));
    for (int64_t i = 0; i < M * N; ++i) EXPECT_NEAR(got[i], y[i], 2e-6 * largest) << i;  // sums of a group are exact
    for (int64_t m = 0; m < M; m += 7)
      for (int64_t rows : {int64_t{1}, std::min<int64_t>(5, M - m), std::min<int64_t>(11, M - m)}) {
        Tensor P = blank({rows, N}, DType::kF32);
        linear(ctx, P, X.rows(m, m + rows), packed);
        ASSERT_EQ(get(P), get(YF.rows(m, m + rows))) << "rows " << m << " and " << rows;
      }
    for (int64_t i = 0; i < M * N; ++i) y[i] += r[i];
    linear(ctx, Y, X, packed, put(r, {M, N}));
    near(Y, y, "y + residual");
  }
}

TEST_P(Kernels, LinearRowsDoNotDependOnTheBatch) {
  if (!GetParam().invariant) GTEST_SKIP() << "cuBLASLt chooses by the number of rows";
  const int64_t M = 77, N = 130, K = 1000, step = emulated() ? 16 : 1;
  Tensor X = put(random(M * K), {M, K}), W = put(random(N * K), {N, K}), Y = blank({M, N}, DType::kF32);
  linear(ctx, Y, X, W);
  for (int64_t a : {0, 5, 10, 60})
    for (int64_t b = a + 1; b <= std::min<int64_t>(a + 34, M); b += step) {
      Tensor P = blank({b - a, N}, DType::kF32);
      linear(ctx, P, X.rows(a, b), W);
      EXPECT_EQ(get(P), get(Y.rows(a, b))) << a << ".." << b;
    }
}

TEST_P(Kernels, RmsNorm) {
  const int64_t T = 70, D = 51;
  Vec<double> x = random(T * D), w = random(D), dy = random(T * D), before = random(T * D);
  Tensor X = put(x, {T, D}), W = put(w, {D}), Y = blank({T, D}, dtype), R = blank({T}, DType::kF32);
  rmsnorm(ctx, Y, R, X, W, 1e-5f);
  near(Y, ref::rmsnorm(x, w, T, D, 1e-5), "y");
  Tensor DX = put(before, {T, D}), DW = zeros({D});
  rmsnorm_backward(ctx, DX, DW, put(dy, {T, D}), X, W, R);
  near(DW, ref::gradient(w, [&](const Vec<C>& z) { return dot(ref::rmsnorm(cx(x), z, T, D, 1e-5), dy); }), "dw");
  Vec<double> dx;
  for (int64_t t = 0; t < T; ++t) {  // row by row: rows are independent
    Vec<double> row(x.begin() + t * D, x.begin() + (t + 1) * D), g(dy.begin() + t * D, dy.begin() + (t + 1) * D);
    Vec<double> d = ref::gradient(row, [&](const Vec<C>& z) { return dot(ref::rmsnorm(z, cx(w), 1, D, 1e-5), g); });
    for (int64_t i = 0; i < D; ++i) dx.push_back(d[i] + before[t * D + i]);
  }
  near(DX, dx, "dx");
}

Tensor rope_table(Arena& a, int64_t n, int64_t hd, double theta) {
  Tensor t = a.alloc(DType::kF32, {n, hd});
  for (int64_t p = 0; p < n; ++p)
    for (int64_t i = 0; i < hd / 2; ++i) {
      double ang = static_cast<double>(p) * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(hd));
      t.as<float>()[p * hd + i] = static_cast<float>(std::cos(ang));
      t.as<float>()[p * hd + hd / 2 + i] = static_cast<float>(std::sin(ang));
    }
  return t;
}

TEST_P(Kernels, Rope) {
  const Heads h{4, 2, 24};
  const Vec<int32_t> pos{0, 1, 2, 0, 7, 99};
  Vec<double> x = random(6 * h.row());
  Tensor X = put(x, {6, h.row()}), table = rope_table(arena, 100, h.dim, 1e4);
  rope(ctx, X, pos.data(), table, h);
  near(X, ref::rope(x, pos, h, 1e4), "rotated");
  rope(ctx, X, pos.data(), table, h, true);  // the backward pass is the inverse rotation
  near(X, x, "rotated back", 2);
}

TEST_P(Kernels, SwiGlu) {
  const int64_t T = 3, F = 37;
  Vec<double> g = random(T * F, 3), u = random(T * F), dy = random(T * F);
  Tensor G = put(g, {T, F}), U = put(u, {T, F}), Y = blank({T, F}, dtype), DG = blank({T, F}, dtype),
         DU = blank({T, F}, dtype);
  swiglu(ctx, Y, G, U);
  near(Y, ref::swiglu(g, u), "y");
  swiglu_backward(ctx, DG, DU, put(dy, {T, F}), G, U);
  near(DG, ref::gradient(g, [&](const Vec<C>& z) { return dot(ref::swiglu(z, cx(u)), dy); }), "dgate");
  near(DU, ref::gradient(u, [&](const Vec<C>& z) { return dot(ref::swiglu(cx(g), z), dy); }), "dup");
}

TEST_P(Kernels, FusedCrossEntropy) {
  const int64_t T = 6, D = 20, V = 83;
  const Vec<int32_t> target{3, 0, -1, 82, 40, 40};
  Vec<double> x = random(T * D), w = random(V * D, 0.3), entropy, coef{-0.2, 0.5, 9.0, -1.0, 0.0, 0.3};
  std::vector<float> cf(coef.begin(), coef.end());
  Tensor X = put(x, {T, D}), W = put(w, {V, D});
  CrossEntropyOut out{blank({T}, DType::kF32), blank({T}, DType::kF32), arena.alloc(DType::kI32, {T})};
  Tensor DX = blank({T, D}, dtype), DW = zeros({V, D});
  fused_cross_entropy(ctx, out, DX, DW, X, W, target.data(), cf.data());
  near(out.logp, ref::cross_entropy(x, w, target, V, D, &entropy), "logp");
  near(out.entropy, entropy, "entropy");
  auto loss = [&](const Vec<C>& lp) { return dot(lp, coef); };
  near(DX, ref::gradient(x, [&](const Vec<C>& z) { return loss(ref::cross_entropy(z, cx(w), target, V, D)); }), "dx");
  near(DW, ref::gradient(w, [&](const Vec<C>& z) { return loss(ref::cross_entropy(cx(x), z, target, V, D)); }), "dw");
  Tensor logp = blank({T}, DType::kF32);  // forward alone: the same bits
  fused_cross_entropy(ctx, {logp, {}, {}}, {}, {}, X, W, target.data(), nullptr);
  EXPECT_EQ(get(logp), get(out.logp));
  Tensor logits = blank({T, V}, DType::kF32), from_logits = blank({T}, DType::kF32);
  linear(ctx, logits, X, W);
  target_logp(ctx, from_logits, logits, target.data());
  EXPECT_EQ(get(from_logits), get(out.logp));
}

TEST_P(Kernels, FusedCrossEntropyInChunks) {  // more tokens than one chunk of logits holds
  const int64_t T = 1500, D = 16, V = 40;
  Vec<int32_t> target(T);
  for (auto& t : target) t = static_cast<int32_t>(rng.below(V));
  Vec<double> x = random(T * D), w = random(V * D), dw(V * D), logits = ref::linear(x, w, T, V, D);
  std::vector<float> coef(T, 1.0f);
  for (int64_t t = 0; t < T; ++t) {
    double sum = 0;
    for (int64_t v = 0; v < V; ++v) sum += std::exp(logits[t * V + v]);
    for (int64_t v = 0; v < V; ++v)
      for (int64_t i = 0; i < D; ++i)
        dw[v * D + i] += ((v == target[t]) - std::exp(logits[t * V + v]) / sum) * x[t * D + i];
  }
  CrossEntropyOut out{blank({T}, DType::kF32), {}, {}};
  Tensor DX = blank({T, D}, dtype), DW = zeros({V, D});
  fused_cross_entropy(ctx, out, DX, DW, put(x, {T, D}), put(w, {V, D}), target.data(), coef.data());
  near(out.logp, ref::cross_entropy(x, w, target, V, D), "logp");
  near(DW, dw, "dw");
}

// Columns on two "ranks", 50 and 33 of them: parts put together give the whole softmax, halves of the gradient the
// whole.
TEST_P(Kernels, SoftmaxOfColumnsInParts) {
  const int64_t T = 5, V = 83, V0 = 50;
  const Vec<int32_t> target{3, 0, 82, 50, 49};
  Vec<double> logits = random(T * V, 4), coef{-0.2, 0.5, -1.0, 0.0, 0.3}, sum(T), lse(T), grad(T * V);
  std::vector<float> cf(coef.begin(), coef.end()), lse_f(T), got_sum(T);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t v = 0; v < V; ++v) sum[t] += std::exp(logits[t * V + v]);
    lse[t] = std::log(sum[t]), lse_f[t] = static_cast<float>(lse[t]);
    for (int64_t v = 0; v < V; ++v)
      grad[t * V + v] = coef[t] * ((v == target[t]) - std::exp(logits[t * V + v] - lse[t]));
  }
  for (auto [begin, n] : {std::pair{int64_t{0}, V0}, {V0, V - V0}}) {
    Vec<double> columns, want;
    Vec<int32_t> here;
    for (int64_t t = 0; t < T; ++t) {
      columns.insert(columns.end(), &logits[t * V + begin], &logits[t * V + begin] + n);
      want.insert(want.end(), &grad[t * V + begin], &grad[t * V + begin] + n);
      here.push_back(target[t] - static_cast<int32_t>(begin));  // outside [0, n): another's
    }
    Tensor L = put(columns, {T, n}, DType::kF32), P = blank({T, 3}, DType::kF32), G = blank({T, n}, dtype);
    softmax_parts(ctx, P, L, here.data());
    const float* p = P.as<float>();
    for (int64_t t = 0; t < T; ++t) {
      EXPECT_EQ(p[3 * t], *std::max_element(L.as<float>() + t * n, L.as<float>() + (t + 1) * n));
      got_sum[t] += p[3 * t + 1] * std::exp(p[3 * t]);
      if (here[t] >= 0 && here[t] < n)
        EXPECT_EQ(p[3 * t + 2], L.as<float>()[t * n + here[t]]);
      else
        EXPECT_EQ(p[3 * t + 2], -3e38f);
    }
    softmax_backward(ctx, G, L, make_view(lse_f.data(), T), here.data(), cf.data());
    near(G, want, "grad");
  }
  for (int64_t t = 0; t < T; ++t) EXPECT_NEAR(got_sum[t], sum[t], 2e-6 * sum[t]);
}

TEST_P(Kernels, EmbeddingAndRows) {
  const int64_t V = 9, D = 37, T = 5;
  const Vec<int32_t> ids{3, 0, 8, 3, 3};
  Vec<double> table = random(V * D), dy = random(T * D), dt(V * D), y;
  for (int64_t t = 0; t < T; ++t)
    for (int64_t i = 0; i < D; ++i) y.push_back(table[ids[t] * D + i]), dt[ids[t] * D + i] += dy[t * D + i];
  Tensor Y = blank({T, D}, dtype), DT = zeros({V, D}), E = put(table, {V, D});
  embedding(ctx, Y, E, ids.data());
  near(Y, y, "y", 0);
  embedding_backward(ctx, DT, put(dy, {T, D}), ids.data());
  near(DT, dt, "dtable");
  const Vec<int32_t> others{3, -1, 8, -1, 3};  // -1: a row that is not here
  Tensor Z = blank({T, D}, dtype), DZ = zeros({V, D});
  embedding(ctx, Z, E, others.data());
  EXPECT_EQ(get(Z.rows(1, 2)), Vec<double>(D, 0.0));
  EXPECT_EQ(get(Z.rows(2, 3)), get(Y.rows(2, 3)));
  embedding_backward(ctx, DZ, put(dy, {T, D}), others.data());
  EXPECT_EQ(get(DZ.rows(0, 1)), Vec<double>(D, 0.0));
  EXPECT_EQ(get(DZ.rows(8, 9)), get(DT.rows(8, 9)));
  Tensor picked = blank({2, D}, dtype), back = zeros({T, D}, dtype);
  const Vec<int32_t> rows{4, 1};
  gather_rows(ctx, picked, Y, rows.data());
  EXPECT_EQ(get(picked.rows(0, 1)), get(Y.rows(4, 5)));
  scatter_add_rows(ctx, back, picked, rows.data());
  EXPECT_EQ(get(back.rows(1, 2)), get(Y.rows(1, 2)));
  EXPECT_EQ(get(back.rows(0, 1)), Vec<double>(D, 0.0));
}

TEST_P(Kernels, Bias) {
  for (int64_t N : {1, 16, 37, 4100}) {
    const int64_t T = 19;
    Vec<double> y = random(T * N), b = random(N), dy = random(T * N), db(N), start = random(N);
    for (size_t i = 0; i < dy.size(); ++i) db[i % N] += dy[i];
    Tensor Y = put(y, {T, N}), DB = put(start, {N}, DType::kF32);
    add_bias(ctx, Y, put(b, {N}));
    near(Y, ref::add_bias(y, b), "y");
    add_bias_backward(ctx, DB, put(dy, {T, N}));
    for (int64_t i = 0; i < N; ++i) db[i] += start[i];  // +=
    near(DB, db, "db");
  }
}

TEST_P(Kernels, AddCastSumSquares) {
  const int64_t n = 40001;
  Vec<double> a = random(n), b = random(n), sum(n);
  double ss = 0;
  for (int64_t i = 0; i < n; ++i) sum[i] = a[i] + b[i], ss += a[i] * a[i];
  Tensor A = put(a, {n}), B = put(b, {n});
  EXPECT_NEAR(sum_squares(ctx, A) / ss, 1, 1e-5);
  Tensor F = blank({n}, DType::kF32), H = blank({n}, DType::kBF16);
  cast(ctx, F, A);
  near(F, a, "cast up", 0);
  cast(ctx, H, F);
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(H.as<BF16>()[i].bits, to_bf16(F.as<float>()[i]).bits);
  add(ctx, A, B);
  near(A, sum, "a + b");
}

TEST_P(Kernels, AdamW) {
  dtype = DType::kF32, tol = 2e-5;  // the optimizer works on f32 masters
  const int64_t n = 100;
  Vec<double> w = random(n), m(n), v(n);
  Tensor W = put(w, {n}), M = zeros({n}), V = zeros({n}), H = blank({n}, DType::kBF16);
  for (int64_t step = 1; step <= 3; ++step) {
    Vec<double> g = random(n);
    adamw(ctx, W, H, M, V, put(g, {n}), {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, step});
    for (int64_t i = 0; i < n; ++i) {
      double gi = g[i] * 0.5;
      m[i] = 0.9 * m[i] + 0.1 * gi, v[i] = 0.95 * v[i] + 0.05 * gi * gi;
      double mh = m[i] / (1 - std::pow(0.9, step)), vh = v[i] / (1 - std::pow(0.95, step));
      w[i] -= 1e-2 * (mh / (std::sqrt(vh) + 1e-8) + 0.1 * w[i]);
    }
  }
  near(W, w, "w");
  for (int64_t i = 0; i < n; ++i) EXPECT_EQ(H.as<BF16>()[i].bits, to_bf16(W.as<float>()[i]).bits);
}

// bf16 weights: within a step of bf16 of the exact update, on average the exact update, the same bits for any pieces.
TEST_P(Kernels, AdamWRoundsStochastically) {
  dtype = DType::kF32;
  const int64_t n = 100003;
  const AdamW o{1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1, 0x123456789abcdefULL, 4294967000u};  // first + i wraps
  Vec<double> g(n, 0.5);
  Tensor G = put(g, {n}), M = zeros({n}), V = zeros({n}), W = blank({n}, DType::kBF16);
  const BF16 start = to_bf16(0.70f);
  for (int64_t i = 0; i < n; ++i) W.as<BF16>()[i] = start;
  const double from = to_float(start), want = from - 1e-3 * (1 + 0.1 * from), step = 1.0 / 256;  // of bf16 near 0.7
  adamw(ctx, W, {}, M, V, G, o);
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double got = to_float(W.as<BF16>()[i]);
    ASSERT_LT(std::abs(got - want), step) << i;
    mean += got / n;
  }
  EXPECT_NEAR(mean, want, 5 * 0.5 * step / std::sqrt(n));  // five standard deviations
  // The exact f32 update, rounded by the scalar functions of tensor/dtype.h.
  Tensor F = put(Vec<double>(n, from), {n}), M2 = zeros({n}), V2 = zeros({n});
  adamw(ctx, F, {}, M2, V2, G, o);
  for (int64_t i = 0; i < n; ++i)
    ASSERT_EQ(W.as<BF16>()[i].bits,
              to_bf16_stochastic(F.as<float>()[i], random_bits(o.rounding_key, o.first + i)).bits);
  // In two pieces: the same bits; with another key: others.
  Tensor P = blank({n}, DType::kBF16), M3 = zeros({n}), V3 = zeros({n});
  auto in_pieces = [&](uint64_t key, int64_t cut) {
    for (int64_t i = 0; i < n; ++i) P.as<BF16>()[i] = start, M3.as<float>()[i] = V3.as<float>()[i] = 0;
    AdamW p = o;
    p.rounding_key = key;
    adamw(ctx, P.rows(0, cut), {}, M3.rows(0, cut), V3.rows(0, cut), G.rows(0, cut), p);
    p.first += static_cast<uint32_t>(cut);
    adamw(ctx, P.rows(cut, n), {}, M3.rows(cut, n), V3.rows(cut, n), G.rows(cut, n), p);
    int64_t same = 0;
    for (int64_t i = 0; i < n; ++i) same += P.as<BF16>()[i].bits == W.as<BF16>()[i].bits;
    return same;
  };
  EXPECT_EQ(in_pieces(o.rounding_key, 777), n);
  EXPECT_LT(in_pieces(o.rounding_key + (uint64_t{1} << 40), 777), n * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Isa, Kernels, ::testing::ValuesIn(all_params()),
                         [](const auto& p) { return name_of(p.param); });

}  // namespace
}  // namespace puyu
