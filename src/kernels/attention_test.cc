// Attention over packed batches and pages.
#include "kernels/kernels_test_util.h"

namespace puyu {
namespace {

class AttentionKernels : public Kernels {};

struct AttentionCase {
  Heads heads;
  Vec<int32_t> cu;
  bool causal = true;
};
TEST_P(AttentionKernels, Attention) {
  for (const auto& [h, cu, causal] : {AttentionCase{{2, 1, 16}, {0, 5}},
                                      {{4, 2, 32}, {0, 3, 70, 71}},
                                      {{6, 2, 20}, {0, 130}},
                                      {{3, 3, 64}, {0, 64, 200}},
                                      {{2, 1, 16}, {0, 5}, false},
                                      {{4, 2, 32}, {0, 3, 70, 71}, false},
                                      {{6, 2, 20}, {0, 130}, false}}) {
    const int64_t T = cu.back(), n = static_cast<int64_t>(cu.size()) - 1;
    SCOPED_TRACE(::testing::Message() << "T=" << T << " HD=" << h.dim << " causal=" << causal);
    Vec<double> x = random(T * h.row()), dy = random(T * h.q * h.dim), lse;
    Tensor X = put(x, {T, h.row()}), O = blank({T, h.q * h.dim}, dtype), L = blank({T, h.q}, DType::kF32);
    PackedSeqs seqs{cu.data(), n, 0, causal};
    attention(ctx, O, L, X, h, seqs);
    near(O, ref::attention(x, cu, h, &lse, causal), "o");
    near(L, lse, "lse");

    // The reference gradient costs T^2 per element: only for the first case by complex step in full, others by columns.
    Tensor DX = blank({T, h.row()}, dtype);
    attention_backward(ctx, DX, put(dy, {T, h.q * h.dim}), O, L, X, h, seqs);
    Vec<double> got = get(DX);
    double scale = 0, worst = 0;
    for (double g : got) scale = std::max(scale, std::fabs(g));
    Vec<C> z = cx(x);
    const int64_t probes = T < 10 ? T * h.row() : 60;
    for (int64_t k = 0; k < probes; ++k) {
      auto i = static_cast<int64_t>(T < 10 ? k : static_cast<int64_t>(rng.below(x.size())));
      z[i] = {x[i], 1e-40};
      double want = dot(ref::attention<C>(z, cu, h, nullptr, causal), dy).imag() / 1e-40;
      z[i] = x[i];
      worst = std::max(worst, std::fabs(got[i] - want) / scale);
    }
    EXPECT_LE(worst, tol * 2) << "dqkv";
  }
}

// Pages, chunks and batch-mates change no bit of a row: DESIGN's invariant, at the level of the kernel.
TEST_P(AttentionKernels, PagedAttentionIsPackedAttention) {
  for (int64_t dim : {32, 36, 128}) {
    const Heads h{4, 2, dim};
    const Vec<int32_t> cu{0, 150, 163};
    const int64_t T = 163, pages = 8, max_pages = 3;
    Tensor X = put(random(T * h.row()), {T, h.row()}), O = blank({T, h.q * h.dim}, dtype);
    attention(ctx, O, {}, X, h, PackedSeqs{cu.data(), 2, 150});
    Tensor K = blank({pages, h.kv, kPage, h.dim}, dtype), V = blank({pages, h.kv, kPage, h.dim}, dtype);
    fill(ctx, K, std::numeric_limits<float>::quiet_NaN());  // stale pages may hold anything
    fill(ctx, V, std::numeric_limits<float>::quiet_NaN());
    const Vec<int32_t> table{6, 1, 4, 3, -1, -1};
    // Feed both sequences in ragged chunks; sequence 1 idles while sequence 0 goes on.
    const Vec<std::array<int32_t, 2>> chunks{{100, 1}, {1, 5}, {1, 1}, {40, 6}, {8, 0}};
    int32_t past[2] = {0, 0};
    for (auto [a, b] : chunks) {
      Vec<int32_t> ccu{0, a, a + b};
      Tensor Q = blank({a + b, h.row()}, dtype), P = blank({a + b, h.q * h.dim}, dtype);
      const auto row = static_cast<size_t>(h.row() * dtype_size(dtype));
      for (int32_t i = 0; i < a; ++i)
        std::memcpy(Q.rows(i, i + 1).data, X.rows(past[0] + i, past[0] + i + 1).data, row);
      for (int32_t i = 0; i < b; ++i)
        std::memcpy(Q.rows(a + i, a + i + 1).data, X.rows(150 + past[1] + i, 150 + past[1] + i + 1).data, row);
      PagedSeqs s{ccu.data(), past, table.data(), 2, max_pages, K, V};
      kv_append(ctx, Q, h, s);
      attention(ctx, P, Q, h, s);
      EXPECT_EQ(get(P.rows(0, a)), get(O.rows(past[0], past[0] + a)));
      EXPECT_EQ(get(P.rows(a, a + b)), get(O.rows(150 + past[1], 150 + past[1] + b)));
      past[0] += a, past[1] += b;
    }
  }
}

// Few rows and many keys: a GPU may split the keys over blocks and put the parts together.
TEST_P(AttentionKernels, DecodingALongContext) {
  const Heads h{2, 1, 32};
  const int64_t T = 700, pages = 11;
  const Vec<int32_t> all{0, 700}, one{0, 1}, table{10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  const int32_t none = 0, past = 699;
  Vec<double> x = random(T * h.row());
  Tensor X = put(x, {T, h.row()}), K = blank({pages, 1, kPage, 32}, dtype), V = blank({pages, 1, kPage, 32}, dtype);
  kv_append(ctx, X, h, {all.data(), &none, table.data(), 1, pages, K, V});
  Tensor O = blank({1, 64}, dtype), last = X.rows(past, T);
  kv_append(ctx, last, h, {one.data(), &past, table.data(), 1, pages, K, V});
  attention(ctx, O, last, h, {one.data(), &past, table.data(), 1, pages, K, V});
  const Vec<double> o = ref::attention(x, all, h);
  near(O, {o.end() - 64, o.end()}, "o");
}

TEST_P(AttentionKernels, QuantisedPages) {
  const Vec<int32_t> cu{0, 150}, table{2, 0, 1};
  for (int64_t dim : {32, 36, 128})
    for (int bits : {8, 4}) {
      SCOPED_TRACE(::testing::Message() << "dim=" << dim << " bits=" << bits);
      const Heads h{4, 2, dim};
      const int64_t T = 150, width = h.row(), row = kv_row_bytes(dim, bits);
      Vec<double> x = random(T * width), rounded = x;
      for (int64_t i = 0; i < dim; ++i) x[2 * dim + i] = rounded[2 * dim + i] = 0.5;  // a key without spread
      Tensor X = put(x, {T, width}), O = blank({T, 4 * dim}, dtype), W = blank({T, 4 * dim}, dtype);
      Tensor K = arena.alloc(DType::kU8, {3, 2, kPage, row}), V = arena.alloc(DType::kU8, {3, 2, kPage, row});
      std::memset(K.data, 255, static_cast<size_t>(K.nbytes()));  // stale pages may hold anything
      std::memset(V.data, 255, static_cast<size_t>(V.nbytes()));
      const int32_t none = 0;
      kv_append(ctx, X, h, {cu.data(), &none, table.data(), 1, 3, K, V});
      // Every number in the pages is within half a step of its own, and attention sees what the pages hold.
      for (int64_t t = 0; t < T; ++t)
        for (int64_t head : {2, 3, 6, 7}) {
          const auto* bytes = static_cast<const uint8_t*>((head % 2 ? V : K).data) +
                              ((table[t / kPage] * 2 + head / 4) * kPage + t % kPage) * row;
          float scale, zero;
          std::memcpy(&scale, bytes, 4), std::memcpy(&zero, bytes + 4, 4);
          for (int64_t i = 0; i < dim; ++i) {
            const int q = bits == 8 ? bytes[8 + i] : bytes[8 + i % (dim / 2)] >> (i < dim / 2 ? 0 : 4) & 15;
            double& v = rounded[t * width + head * dim + i];
            EXPECT_LE(std::abs(zero + scale * q - v), 0.5001 * scale + 1e-7) << t << " " << head << " " << i;
            v = zero + scale * q;
          }
        }
      attention(ctx, W, {}, put(rounded, {T, width}), h, PackedSeqs{cu.data(), 1, T});
      attention(ctx, O, X, h, {cu.data(), &none, table.data(), 1, 3, K, V});
      near(O, get(W), "o");
      // The same row by row, from the pages.
      for (int32_t past : {149, 64, 63}) {
        const Vec<int32_t> one{0, 1};
        Tensor P = blank({1, 4 * dim}, dtype);
        kv_append(ctx, X.rows(past, past + 1), h, {one.data(), &past, table.data(), 1, 3, K, V});
        attention(ctx, P, X.rows(past, past + 1), h, {one.data(), &past, table.data(), 1, 3, K, V});
        EXPECT_EQ(get(P), get(O.rows(past, past + 1))) << past;
      }
    }
}

// Keys that come in parts of any size, queries cut anywhere: o, lse and the gradients of attention in one go.
TEST_P(AttentionKernels, KeysInParts) {
  if (emulated() || on_gpu()) GTEST_SKIP() << "context ranks have no CUDA kernel yet";
  for (const auto& [h, cu, causal] :
       {AttentionCase{{4, 2, 32}, {0, 3, 70, 71, 290}}, {{6, 2, 20}, {0, 130}}, {{3, 3, 64}, {0, 64, 200}}}) {
    ASSERT_TRUE(causal) << "parts are of causal attention";
    const int64_t T = cu.back(), n = static_cast<int64_t>(cu.size()) - 1, Q = h.q * h.dim, K = 2 * h.kv * h.dim;
    SCOPED_TRACE(::testing::Message() << "T=" << T << " HD=" << h.dim);
    Vec<double> x = random(T * h.row()), dy = random(T * Q), lse;
    Tensor X = put(x, {T, h.row()}), DY = put(dy, {T, Q}), O = blank({T, Q}, dtype), L = blank({T, h.q}, DType::kF32);
    Tensor DX = blank({T, h.row()}, dtype);
    attention(ctx, O, L, X, h, PackedSeqs{cu.data(), n, 0});
    attention_backward(ctx, DX, DY, O, L, X, h, PackedSeqs{cu.data(), n, 0});

    Tensor SO = blank({T, Q}, DType::kF32), SL = blank({T, h.q}, DType::kF32), DQ = blank({T, Q}, DType::kF32);
    Tensor KV = blank({T, K}, dtype), DKV = blank({T, K}, DType::kF32);
    fill(ctx, SO, 0), fill(ctx, SL, kNoKeys), fill(ctx, DQ, 0), fill(ctx, DKV, 0);
    const int64_t pair = 2 * h.dim * dtype_size(dtype);
    for (int64_t t = 0; t < T; ++t)
      for (int64_t kv = 0; kv < h.kv; ++kv)
        std::memcpy(
            static_cast<char*>(KV.data) + (t * h.kv + kv) * pair,
            static_cast<char*>(X.data) + (t * h.row() + (kv * (h.group() + 2) + h.group()) * h.dim) * dtype_size(dtype),
            static_cast<size_t>(pair));
    for (bool backward : {false, true})
      for (int64_t a = 0, b; a < T; a = b) {
        b = std::min(T, a + 1 + static_cast<int64_t>(rng.below(90)));
        std::vector<AttentionSpan> calls[2];
        for (int64_t i = 0; i < n; ++i) {
          const int64_t begin = std::max<int64_t>(cu[i], a), end = cu[i + 1];
          if (begin >= std::min(end, b)) continue;
          const int64_t cut = begin + static_cast<int64_t>(rng.below(end - begin + 1));
          if (cut > begin) calls[0].push_back({begin, cut - begin, begin - a, std::min(b, cut) - begin, 0});
          if (cut < end) calls[1].push_back({cut, end - cut, begin - a, std::min(b, end) - begin, cut - begin});
        }
        const Tensor keys = KV.rows(a, b);
        for (const auto& s : calls)
          if (backward)
            attention_part_backward(ctx, DQ, DKV.rows(a, b), DY, O, L, X, keys, h, s.data(),
                                    static_cast<int64_t>(s.size()));
          else
            attention_part(ctx, SO, SL, X, keys, h, s.data(), static_cast<int64_t>(s.size()));
      }
    near(SO, ref::attention(x, cu, h, &lse), "o");
    near(SL, lse, "lse");
    const Vec<double> dq = get(DQ), dkv = get(DKV);
    Vec<double> joined;
    for (int64_t t = 0; t < T; ++t)
      for (int64_t kv = 0; kv < h.kv; ++kv) {
        const auto q = dq.begin() + t * Q + kv * h.group() * h.dim;
        const auto k = dkv.begin() + t * K + kv * 2 * h.dim;
        joined.insert(joined.end(), q, q + h.group() * h.dim);
        joined.insert(joined.end(), k, k + 2 * h.dim);
      }
    near(DX, joined, "dqkv");
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionKernels, ::testing::ValuesIn(all_params()),
                         [](const auto& p) { return name_of(p.param); });

}  // namespace
}  // namespace puyu
