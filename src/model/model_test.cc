// The model as a whole against the scalar reference, and DESIGN's invariants on it.
#include "model/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <complex>
#include <cstring>
#include <filesystem>

#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "kernels/cpu/table.h"
#include "kernels/ref/ref.h"

namespace puyu {
namespace {

using C = std::complex<double>;
using ref::Vec;

ModelConfig tiny() {
  ModelConfig c;
  c.vocab_size = 29, c.hidden_size = 24, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2, c.head_dim = 8;
  c.intermediate_size = 40, c.rope_theta = 1e4, c.max_position = 512;
  return c;
}

// sum_t coef[t] log p(target[t]) of the reference model whose parameters stand one after another in each()'s order.
template <class S>
S reference_loss(const ModelConfig& c, const Vec<S>& params, const Batch& b, const Vec<int32_t>& target,
                 const Vec<double>& coef) {
  size_t at = 0;
  auto take = [&](int64_t n) {
    Vec<S> v(params.begin() + static_cast<int64_t>(at), params.begin() + static_cast<int64_t>(at) + n);
    at += n;
    return v;
  };
  const int64_t T = b.tokens(), D = c.hidden_size, F = c.intermediate_size, Q = c.num_heads * c.hd();
  Vec<S> table = take(c.vocab_size * D), x;
  for (int32_t id : b.ids) x.insert(x.end(), table.begin() + id * D, table.begin() + (id + 1) * D);
  auto add = [](Vec<S> a, const Vec<S>& o) {
    for (size_t i = 0; i < a.size(); ++i) a[i] += o[i];
    return a;
  };
  for (int64_t l = 0; l < c.num_layers; ++l) {
    Vec<S> n1 = take(D), wqkv = take(c.heads().row() * D), bqkv = take(c.qkv_bias ? c.heads().row() : 0),
           wo = take(D * Q), bo = take(c.wo_bias ? D : 0), n2 = take(D), w1 = take(F * D), w3 = take(F * D),
           w2 = take(D * F);
    Vec<S> h = ref::rmsnorm(x, n1, T, D, c.rms_norm_eps);
    Vec<S> qkv = ref::linear(h, wqkv, T, c.heads().row(), D);
    if (c.qkv_bias) qkv = ref::add_bias(qkv, bqkv);
    qkv = ref::rope(qkv, b.positions, c.heads(), c.rope_theta);
    x = add(ref::linear(ref::attention(qkv, b.cu, c.heads()), wo, T, D, Q), x);
    if (c.wo_bias) x = ref::add_bias(x, bo);
    h = ref::rmsnorm(x, n2, T, D, c.rms_norm_eps);
    x = add(ref::linear(ref::swiglu(ref::linear(h, w1, T, F, D), ref::linear(h, w3, T, F, D)), w2, T, D, F), x);
  }
  Vec<S> norm = take(D), head = take(c.vocab_size * D);
  Vec<S> lp = ref::cross_entropy(ref::rmsnorm(x, norm, T, D, c.rms_norm_eps), head, target, c.vocab_size, D);
  S sum = 0;
  for (size_t t = 0; t < lp.size(); ++t) sum += lp[t] * coef[t];
  return sum;
}

// The parameter: biases on the attention, none or those of Qwen2 or all of them.
struct Biases {
  const char* name;
  bool qkv, wo;
};
class ModelTest : public ::testing::TestWithParam<Biases> {
 protected:
  Arena act{"activations", 1 << 28}, scratch{"scratch", 1 << 28};
  Ctx ctx{Device::kCpu, &scratch};
  ModelConfig c = [] {
    ModelConfig t = tiny();
    t.qkv_bias = GetParam().qkv, t.wo_bias = GetParam().wo;
    return t;
  }();

  Weights random_weights(DType compute, uint64_t seed = 7) {
    Weights w = make_weights(c, Head::kLanguage, compute);
    Rng rng(seed);
    w.master.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
      for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = static_cast<float>(rng.normal() * 0.3 + (t.rank == 1));
    });
    w.refresh_copy(ctx);
    return w;
  }
  Batch batch(std::initializer_list<int64_t> lengths, uint64_t seed = 3) {
    Rng rng(seed);
    Batch b;
    for (int64_t n : lengths) {
      std::vector<int32_t> ids(n);
      for (auto& t : ids) t = static_cast<int32_t>(rng.below(c.vocab_size));
      b.add(ids.data(), n);
    }
    return b;
  }
  // Loss as reference_loss, gradients into `grads` (+=).
  float run(Weights& w, const Batch& b, const Vec<int32_t>& target, const std::vector<float>& coef,
            Model<Tensor>* grads, Recompute level) {
    ScratchScope scope(act);
    Tensor table = make_rope_table(act, c, c.max_position);
    Sequences seqs = b.sequences(table);
    Pass pass;
    Tensor h = model_forward(ctx, act, w, b.ids.data(), b.tokens(), seqs, &pass, level);
    Tensor logp = act.alloc(DType::kF32, {b.tokens()}), dh = act.alloc(w.compute, {b.tokens(), c.hidden_size});
    fused_cross_entropy(ctx, {logp, {}, {}}, dh, grads->output, h, w.output(), target.data(), coef.data());
    model_backward(ctx, w, *grads, dh, b.ids.data(), seqs, pass, level);
    float sum = 0;
    for (int64_t t = 0; t < b.tokens(); ++t) sum += logp.as<float>()[t] * coef[t];
    return sum;
  }
  std::vector<float> flatten(Model<Tensor>& m) {
    std::vector<float> v;
    m.each(c, Head::kLanguage, [&](const std::string&, Tensor& t, Spec, int64_t) {
      v.insert(v.end(), t.as<float>(), t.as<float>() + t.numel());
    });
    return v;
  }
};

TEST_P(ModelTest, LossAndGradientsMatchTheReference) {
  Weights w = random_weights(DType::kF32);
  Batch b = batch({4, 1, 3});
  Vec<int32_t> target{5, 2, -1, 8, 1, 0, 28, 3};
  std::vector<float> coef{-1, -0.5, 3, -1, 0.25, -1, -1, -2};
  TensorSet g = make_tensor_set("grads", c, w.head, DType::kF32);
  float loss = run(w, b, target, coef, &g.tensors, Recompute::kNone);
  std::vector<float> p = flatten(w.master.tensors), got = flatten(g.tensors);
  Vec<double> params(p.begin(), p.end()), dcoef(coef.begin(), coef.end());
  EXPECT_NEAR(loss, reference_loss(c, params, b, target, dcoef), 1e-4);
  Vec<C> z(params.begin(), params.end());
  double scale = 0, worst = 0;
  for (float v : got) scale = std::max(scale, std::fabs(static_cast<double>(v)));
  for (size_t i = 0; i < z.size(); i += i % 7 == 0 ? 1 : 5) {  // a seventh of the parameters and their neighbours
    z[i] = {params[i], 1e-40};
    double want = reference_loss(c, z, b, target, dcoef).imag() / 1e-40;
    z[i] = params[i];
    worst = std::max(worst, std::fabs(got[i] - want) / scale);
  }
  EXPECT_LE(worst, 2e-5);
}

TEST_P(ModelTest, RecomputeIsBitwise) {
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = random_weights(d);
    Batch b = batch({90, 40});
    Vec<int32_t> target(b.ids.begin(), b.ids.end());
    std::vector<float> coef(130, -1.0f / 130), want;
    for (Recompute level : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      TensorSet g = make_tensor_set("grads", c, w.head, DType::kF32);
      run(w, b, target, coef, &g.tensors, level);
      if (level == Recompute::kNone)
        want = flatten(g.tensors);
      else
        EXPECT_EQ(flatten(g.tensors), want);
    }
  }
}

TEST_P(ModelTest, PackedIsSeparate) {
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = random_weights(d);
    Batch both = batch({70, 33, 5});
    Tensor table = make_rope_table(act, c, c.max_position);
    Tensor h = model_forward(ctx, act, w, both.ids.data(), both.tokens(), both.sequences(table), nullptr);
    for (size_t i = 0; i + 1 < both.cu.size(); ++i) {
      Batch one;
      one.add(both.ids.data() + both.cu[i], both.cu[i + 1] - both.cu[i]);
      Tensor o = model_forward(ctx, act, w, one.ids.data(), one.tokens(), one.sequences(table), nullptr);
      EXPECT_EQ(0, std::memcmp(o.data, h.rows(both.cu[i], both.cu[i + 1]).data, o.nbytes())) << "sequence " << i;
    }
  }
}

// Prefill in chunks, then one token at a time from pages = the training forward, bit for bit.
TEST_P(ModelTest, DecodeIsTrainingForward) {
  for (const auto& isa : cpu::available_isas())
    for (DType d : {DType::kF32, DType::kBF16}) {
      cpu::set_isa(isa);
      ScratchScope scope(act);
      Weights w = random_weights(d);
      const int64_t T = 150;
      Batch b = batch({T});
      Tensor table = make_rope_table(act, c, c.max_position);
      Tensor want = model_forward(ctx, act, w, b.ids.data(), T, b.sequences(table), nullptr);
      std::vector<Tensor> k, v;
      for (int64_t l = 0; l < c.num_layers; ++l)
        for (auto* p : {&k, &v}) p->push_back(act.alloc(d, {4, c.num_kv_heads, kPage, c.hd()}));
      const int32_t pages[3] = {2, 0, 3};
      for (int64_t at = 0; at < T;) {
        const int64_t n = at == 0 ? 70 : at < 100 ? 13 : 1;
        const int32_t cu[2] = {0, static_cast<int32_t>(n)}, past[1] = {static_cast<int32_t>(at)};
        Tensor x = act.alloc(d, {n, c.hidden_size}), h = act.alloc(d, {n, c.hidden_size});
        embedding(ctx, x, w.use().tok_embeddings, b.ids.data() + at);
        for (int64_t l = 0; l < c.num_layers; ++l)
          block_forward(ctx, c, w.use().layers[l], x,
                        {b.positions.data() + at, PagedSeqs{cu, past, pages, 1, 3, k[l], v[l]}, table}, nullptr);
        rmsnorm(ctx, h, {}, x, w.use().norm, static_cast<float>(c.rms_norm_eps));
        EXPECT_EQ(0, std::memcmp(h.data, want.rows(at, at + n).data, h.nbytes()))
            << isa << " " << dtype_name(d) << " token " << at;
        at += n;
      }
    }
  cpu::set_isa("");
}

class ReverseTest : public ModelTest {};
INSTANTIATE_TEST_SUITE_P(All, ReverseTest, ::testing::Values(Biases{"Plain", false, false}),
                         [](const auto& biases) { return biases.param.name; });

// The whole chain of training in small: reverse a string, then greedy generation must do it.
TEST_P(ReverseTest, SlowLearnsToReverse) {
  c.vocab_size = 8, c.hidden_size = 32, c.intermediate_size = 64;
  Weights w = make_weights(c, Head::kLanguage, DType::kF32);
  init_weights(w, 1);
  TensorSet g = make_tensor_set("grads", c, w.head, DType::kF32), m = make_tensor_set("m", c, w.head, DType::kF32),
            v = make_tensor_set("v", c, w.head, DType::kF32);
  Rng rng(5);
  const int64_t n = 4, len = 2 * n + 1, rows = 32;  // digits, separator 7, digits reversed
  auto sample = [&](int32_t* ids) {
    for (int64_t i = 0; i < n; ++i) ids[i] = ids[2 * n - i] = static_cast<int32_t>(rng.below(6));
    ids[n] = 7;
  };
  for (int64_t step = 1; step <= 400; ++step) {
    Batch b;
    Vec<int32_t> target;
    for (int64_t r = 0; r < rows; ++r) {
      int32_t ids[2 * n + 1];
      sample(ids);
      b.add(ids, len - 1);
      for (int64_t i = 0; i < len - 1; ++i) target.push_back(i >= n ? ids[i + 1] : -1);
    }
    std::vector<float> coef(target.size(), -1.0f / static_cast<float>(n * rows));
    g.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { fill(ctx, t, 0); });
    run(w, b, target, coef, &g.tensors, Recompute::kNone);
    std::vector<Tensor> gs, ms, vs;
    g.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { gs.push_back(t); });
    m.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { ms.push_back(t); });
    v.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { vs.push_back(t); });
    size_t i = 0;
    w.master.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
      adamw(ctx, t, {}, ms[i], vs[i], gs[i], {5e-3f, 0.9f, 0.95f, 1e-8f, 0.0f, 1.0f, step});
      ++i;
    });
  }
  int right = 0;
  for (int trial = 0; trial < 50; ++trial) {
    ScratchScope scope(act);
    Tensor table = make_rope_table(act, c, c.max_position);
    int32_t want[2 * n + 1];
    sample(want);
    std::vector<int32_t> ids(want, want + n + 1);
    while (static_cast<int64_t>(ids.size()) < len) {
      Batch b;
      b.add(ids.data(), static_cast<int64_t>(ids.size()));
      Tensor h = model_forward(ctx, act, w, b.ids.data(), b.tokens(), b.sequences(table), nullptr);
      Tensor logits = act.alloc(DType::kF32, {1, c.vocab_size});
      linear(ctx, logits, h.rows(b.tokens() - 1, b.tokens()), w.output());
      const float* p = logits.as<float>();
      ids.push_back(static_cast<int32_t>(std::max_element(p, p + c.vocab_size) - p));
    }
    right += std::equal(ids.begin(), ids.end(), want);
  }
  EXPECT_GE(right, 48);
}

TEST_P(ModelTest, SaveAndLoadKeepEveryBit) {
  test::TempDir dir;
  Weights w = random_weights(DType::kF32);
  save_model(dir.path, w, DType::kF32);
  Weights r = load_model(ctx, dir.path, Head::kLanguage, DType::kF32);
  EXPECT_EQ(flatten(r.master.tensors), flatten(w.master.tensors));  // of the tensors that ours has
  EXPECT_EQ(r.config.rope_theta, c.rope_theta);
  // A bias that ours lacks comes back as zeros, and the model computes the same.
  EXPECT_EQ(r.config.wo_bias, c.qkv_bias);
  if (c.qkv_bias && !c.wo_bias) { EXPECT_EQ(r.master.tensors.layers[1].wo_bias.as<float>()[3], 0); }
  Batch b = batch({20});
  Tensor table = make_rope_table(act, c, c.max_position);
  Tensor x = model_forward(ctx, act, w, b.ids.data(), 20, b.sequences(table), nullptr),
         y = model_forward(ctx, act, r, b.ids.data(), 20, b.sequences(table), nullptr);
  EXPECT_EQ(0, std::memcmp(x.data, y.data, x.nbytes()));
}

INSTANTIATE_TEST_SUITE_P(All, ModelTest,
                         ::testing::Values(Biases{"Plain", false, false}, Biases{"QkvBias", true, false},
                                           Biases{"AllBiases", true, true}),
                         [](const auto& biases) { return biases.param.name; });

TEST(ModelConfigTest, PublishedSizes) {  // research/training.md, section 2.1
  EXPECT_EQ(published_config("1.8b").num_params(), 1889110016);
  EXPECT_EQ(published_config("7b").num_params(), 7737708544);
  EXPECT_EQ(published_config("20b").num_params(), 19861149696);
  EXPECT_NEAR(published_config("7b").train_flops_per_token(4096) / 1e9, 47.4, 0.5);
}

}  // namespace
}  // namespace puyu
