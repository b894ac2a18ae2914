// Scales between channels: the float model stays the same, the quantised one comes nearer.
#include "model/awq.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace puyu {
namespace {

ModelConfig shape() {
  ModelConfig c;
  c.vocab_size = 60, c.hidden_size = 64, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 160, c.rope_theta = 1e4, c.max_position = 128;
  return c;
}

struct Lab {
  Arena arena{"lab", int64_t{1} << 30};
  Arena scratch{"scratch", int64_t{1} << 30};
  Ctx ctx{Device::kCpu, &scratch};
  ModelConfig c = shape();
  Weights w = make_weights(c, Head::kLanguage, DType::kF32);
  std::vector<int32_t> ids;
  Lab() {
    Rng rng(3);
    w.master.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
      for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = static_cast<float>(rng.normal() * 0.2 + (t.rank == 1));
    });
    for (int i = 0; i < 100; ++i) ids.push_back(static_cast<int32_t>(rng.below(60)));
  }
  Tensor hidden() {
    Batch b;
    b.add(ids.data(), 100);
    return model_forward(ctx, arena, w, ids.data(), 100, b.sequences(make_rope_table(arena, c, 128)), nullptr);
  }
  BlockScales random_scales() const {
    Rng rng(8);
    BlockScales s;
    auto draw = [&](int64_t n) {
      std::vector<float> v;
      for (int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(std::exp(rng.normal())));
      return v;
    };
    s.attention_in = draw(64), s.ffn_in = draw(64), s.ffn_mid = draw(160);
    return s;
  }
  // What calibration sees of the first block, whose input is the embedding.
  BlockSeen look(const Block<Tensor>& block) {
    BlockSeen seen;
    seen.batch.add(ids.data(), 100);
    seen.rope_table = make_rope_table(arena, c, 128);
    Tensor x = arena.alloc(DType::kF32, {100, 64});
    embedding(ctx, x, w.master.tensors.tok_embeddings, ids.data());
    Saved s = alloc_saved(arena, c, 100, DType::kF32, Recompute::kNone);
    block_forward(ctx, c, block, x, seen.batch.sequences(seen.rope_table), &s);
    auto fill_in = [&](Seen& to, Tensor t) {
      to.rows = t;
      to.mean.assign(static_cast<size_t>(t.shape[1]), 0), to.most = to.mean;
      for (int64_t i = 0; i < t.numel(); ++i) {
        const auto k = static_cast<size_t>(i % t.shape[1]);
        to.mean[k] += std::fabs(t.as<float>()[i]) / 100, to.most[k] = std::max(to.most[k], std::fabs(t.as<float>()[i]));
      }
    };
    fill_in(seen.attention_in, s.h1), fill_in(seen.attention_out, s.attn);
    fill_in(seen.ffn_in, s.h2), fill_in(seen.ffn_mid, s.act);
    return seen;
  }
};

TEST(Awq, FoldedFloatModelIsTheSame) {
  for (DType stored : {DType::kF32, DType::kBF16}) {
    Lab lab;
    // Norms that bf16 holds, as a bf16 model's are; folding must undo what rounding the folded ones does.
    for (Block<Tensor>& b : lab.w.master.tensors.layers)
      for (Tensor& norm : {std::ref(b.attention_norm), std::ref(b.ffn_norm)})
        for (int64_t i = 0; i < norm.numel(); ++i) norm.as<float>()[i] = to_float(to_bf16(norm.as<float>()[i]));
    lab.w.master.tensors.layers[0].ffn_norm.as<float>()[7] = 0;  // a channel through which nothing comes
    const Tensor before = lab.hidden();
    for (Block<Tensor>& b : lab.w.master.tensors.layers) fold_scales(b, lab.random_scales(), stored);
    const Tensor after = lab.hidden();
    double most = 0, change = 0;
    for (int64_t i = 0; i < before.numel(); ++i)
      most = std::max(most, std::fabs(static_cast<double>(before.as<float>()[i]))),
      change = std::max(change, std::fabs(static_cast<double>(before.as<float>()[i] - after.as<float>()[i])));
    EXPECT_GT(most, 1);
    EXPECT_LT(change, 1e-4) << dtype_name(stored);
    if (stored == DType::kBF16)
      for (int64_t i = 0; i < 64; ++i) {
        const float f = lab.w.master.tensors.layers[1].ffn_norm.as<float>()[i];
        EXPECT_EQ(f, to_float(to_bf16(f)));
      }
  }
}

TEST(Awq, ScalesFollowTheFormula) {
  Lab lab;
  const Block<Tensor>& b = lab.w.master.tensors.layers[0];
  const BlockSeen seen = lab.look(b);
  const Tensor m[] = {b.w1, b.w3};
  const std::vector<float> s = channel_scales(seen.ffn_in, m, 0.3, "w4a16");
  // Written down again, channel 5 against channel 9: what normalises cancels.
  auto raw = [&](int64_t k) {
    double w = 0;
    for (const Tensor& t : m)
      for (int64_t n = 0; n < 160; ++n) {
        double most = 0;
        for (int64_t i = 0; i < 64; ++i)
          most = std::max(most, std::fabs(static_cast<double>(t.as<float>()[n * 64 + i])));
        w += std::fabs(static_cast<double>(t.as<float>()[n * 64 + k])) / most / 320;
      }
    return std::pow(static_cast<double>(seen.ffn_in.mean[static_cast<size_t>(k)]), 0.3) / std::pow(w, 0.7);
  };
  EXPECT_NEAR(s[5] / s[9], raw(5) / raw(9), 1e-4);
  const auto [low, high] = std::minmax_element(s.begin(), s.end());
  EXPECT_NEAR(*low * *high, 1, 1e-4);
}

// Channels of very different strength are what the scales are for: with them the quantised block's output must come
// much nearer to the float one than without.
TEST(Awq, SearchAndClippingBringTheBlockNearer) {
  for (const std::string scheme : {"w4a16", "w8a8", "w4a8"}) {
    Lab lab;
    Block<Tensor>& b = lab.w.master.tensors.layers[0];
    for (int64_t k : {3, 17, 40}) b.attention_norm.as<float>()[k] *= 30, b.ffn_norm.as<float>()[k] *= 30;
    const BlockSeen seen = lab.look(b);
    auto copy_of = [&](const Block<Tensor>& from) {
      Block<Tensor> to;
      std::vector<Tensor> list;
      Block<Tensor>(from).each(lab.c, [&](const char*, Tensor& t, Spec) { list.push_back(t); });
      size_t i = 0;
      to.each(lab.c, [&](const char*, Tensor& t, Spec) {
        const Tensor& f = list[i++];
        t = f.rank == 2 ? lab.arena.alloc(DType::kF32, {f.shape[0], f.shape[1]})
                        : lab.arena.alloc(DType::kF32, {f.shape[0]});
        std::copy_n(f.as<float>(), f.numel(), t.as<float>());
      });
      return to;
    };
    auto output = [&](Block<Tensor> block, bool quantise) {
      if (quantise)
        block.each(lab.c, [&](const char*, Tensor& t, Spec) {
          if (t.rank == 2)
            t = pack_quantized(lab.ctx, lab.arena, quantize_weight(lab.ctx, t, scheme),
                               scheme == "w4a8" ? DType::kI8 : DType::kF32);
        });
      Tensor x = lab.arena.alloc(DType::kF32, {100, 64});
      embedding(lab.ctx, x, lab.w.master.tensors.tok_embeddings, lab.ids.data());
      block_forward(lab.ctx, lab.c, block, x, seen.batch.sequences(seen.rope_table), nullptr);
      return x;
    };
    auto error = [&](const Tensor& a, const Tensor& e) {
      double sum = 0;
      for (int64_t i = 0; i < a.numel(); ++i)
        sum += std::pow(static_cast<double>(a.as<float>()[i] - e.as<float>()[i]), 2);
      return sum;
    };
    const Tensor exact = output(b, false);
    const double plain = error(output(copy_of(b), true), exact);
    Block<Tensor> folded = copy_of(b);
    const BlockScales s = search_scales(lab.ctx, lab.c, b, folded, seen, {scheme, -1, true});
    fold_scales(folded, s, DType::kF32);
    const double scaled = error(output(copy_of(folded), true), exact);
    EXPECT_LT(scaled, 0.7 * plain) << scheme;
    if (scheme == "w8a8") continue;
    clip_groups(lab.ctx, lab.c, folded, seen, s);
    EXPECT_LT(error(output(folded, true), exact), scaled) << scheme;
  }
}

}  // namespace
}  // namespace puyu
