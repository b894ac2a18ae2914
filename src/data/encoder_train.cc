// Training of encoders: filling in masked tokens once, then the labels, a model for each part of the cross-validation
// and one on everything, side by side, each in a fixed order of additions.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "base/config.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/rng.h"
#include "data/classifier_parts.h"
#include "data/encoder_parts.h"
#include "data/sealed_file.h"
#include "data/texts.h"

namespace puyu {
namespace {

using Ids = std::vector<int32_t>;

// A net with the optimizer's state.
class Trainer {
 public:
  Trainer(const ModelConfig& c, const EncoderOptions& o)
      : net(c, o),
        options_(o),
        grads_(make_tensor_set("encoder gradients", c, Head::kValue, DType::kF32)),
        m_(make_tensor_set("encoder m", c, Head::kValue, DType::kF32)),
        v_(make_tensor_set("encoder v", c, Head::kValue, DType::kF32)) {}

  // Filling in: target[t] is the token that stood at t, or -1. Returns the mean loss.
  double fill_in(const Batch& b, const Ids& target, double lr) {
    ScratchScope scope(net.activations);
    Pass pass;
    Tensor hidden = forward(b, pass);
    Ids index, wanted;
    for (int32_t t = 0; t < static_cast<int32_t>(target.size()); ++t)
      if (target[static_cast<size_t>(t)] >= 0) index.push_back(t), wanted.push_back(target[static_cast<size_t>(t)]);
    if (index.empty()) return 0;
    const auto n = static_cast<int64_t>(index.size());
    const int64_t D = net.weights.config.hidden_size;
    Tensor x = net.activations.alloc(DType::kF32, {n, D}), dx = net.activations.alloc(DType::kF32, {n, D}),
           logp = net.activations.alloc(DType::kF32, {n}), dh = net.activations.alloc(DType::kF32, {b.tokens(), D});
    const std::vector<float> coef(index.size(), -1.0f / static_cast<float>(n));
    gather_rows(net.ctx, x, hidden, index.data());
    fused_cross_entropy(net.ctx, {logp, {}, {}}, dx, grads_.tensors.tok_embeddings, x, net.weights.use().tok_embeddings,
                        wanted.data(), coef.data());
    fill(net.ctx, dh, 0);
    scatter_add_rows(net.ctx, dh, dx, index.data());
    backward(b, dh, pass, lr);
    double loss = 0;
    for (int64_t i = 0; i < n; ++i) loss -= double{logp.as<float>()[i]};
    return loss / static_cast<double>(n);
  }

  // Labels: logistic loss of the margins.
  void classify(const Batch& b, const std::vector<bool>& positive, double lr) {
    ScratchScope scope(net.activations);
    Pass pass;
    Tensor hidden = forward(b, pass);
    const auto D = static_cast<size_t>(net.weights.config.hidden_size);
    const std::vector<double> means = net.pooled(b, hidden);
    Tensor dh = net.activations.alloc(DType::kF32, {b.tokens(), net.weights.config.hidden_size});
    const float* head = net.weights.output().as<float>();
    float *dhead = grads_.tensors.output.as<float>(), *to = dh.as<float>();
    for (size_t s = 0; s + 1 < b.cu.size(); ++s) {
      double margin = 0;
      for (size_t i = 0; i < D; ++i) margin += means[s * D + i] * double{head[i]};
      const double error = (1 / (1 + std::exp(-margin)) - (positive[s] ? 1 : 0)) / static_cast<double>(b.cu.size() - 1);
      const double each = error / (b.cu[s + 1] - b.cu[s]);
      for (size_t i = 0; i < D; ++i) dhead[i] += static_cast<float>(error * means[s * D + i]);
      for (auto t = static_cast<size_t>(b.cu[s]); t < static_cast<size_t>(b.cu[s + 1]); ++t)
        for (size_t i = 0; i < D; ++i) to[t * D + i] = static_cast<float>(each * double{head[i]});
    }
    backward(b, dh, pass, lr);
  }

  void copy_weights(const Trainer& from) {
    for (size_t p = 0; p < net.weights.master.parts.size(); ++p)
      std::copy_n(from.net.weights.master.parts[p].as<float>(), net.weights.master.parts[p].numel(),
                  net.weights.master.parts[p].as<float>());
  }

  EncoderNet net;

 private:
  Tensor forward(const Batch& b, Pass& pass) {
    for (Tensor& p : grads_.parts) fill(net.ctx, p, 0);
    return model_forward(net.ctx, net.activations, net.weights, b.ids.data(), b.tokens(), net.sequences(b), &pass);
  }

  void backward(const Batch& b, Tensor dh, Pass& pass, double lr) {
    model_backward(net.ctx, net.weights, grads_.tensors, dh, b.ids.data(), net.sequences(b), pass, Recompute::kNone);
    double squares = 0;
    for (Tensor& p : grads_.parts) squares += sum_squares(net.ctx, p);
    const double norm = std::sqrt(squares);
    AdamW o{static_cast<float>(lr), 0.9f, 0.98f, 1e-8f, 0, static_cast<float>(norm > 1 ? 1 / norm : 1), ++steps_};
    std::vector<Tensor> g, m, v;
    const ModelConfig& c = net.weights.config;
    auto into = [&](TensorSet& set, std::vector<Tensor>& list) {
      set.tensors.each(c, Head::kValue, [&](const std::string&, Tensor& t, Spec, int64_t) { list.push_back(t); });
    };
    into(grads_, g), into(m_, m), into(v_, v);
    size_t i = 0;
    net.weights.master.tensors.each(c, Head::kValue, [&](const std::string&, Tensor& t, Spec spec, int64_t) {
      o.weight_decay = spec.decay ? static_cast<float>(options_.weight_decay) : 0;
      adamw(net.ctx, t, {}, m[i], v[i], g[i], o);
      ++i;
    });
  }

  EncoderOptions options_;
  TensorSet grads_, m_, v_;
  int64_t steps_ = 0;
};

// Up to the peak in a tenth of the way, then down to zero.
double learning_rate(double peak, int64_t done, int64_t all) {
  const double at = (static_cast<double>(done) + 1) / static_cast<double>(std::max<int64_t>(1, all));
  return at < 0.1 ? peak * at / 0.1 : peak * std::max(0.0, (1 - at) / 0.9);
}

// The most frequent tokens; ties by hash.
EncoderVocabulary build_vocabulary(const std::vector<std::vector<uint64_t>>& texts, int64_t rows) {
  std::unordered_map<uint64_t, int64_t> counts;
  for (const auto& text : texts)
    for (const uint64_t h : text) ++counts[h];
  std::vector<std::pair<int64_t, uint64_t>> order;
  for (const auto& [hash, n] : counts)
    if (n > 1) order.emplace_back(-n, hash);
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), static_cast<size_t>(rows - kFirstOwnId)));
  EncoderVocabulary v;
  for (const auto& entry : order) v.hashes.push_back(entry.second);
  std::sort(v.hashes.begin(), v.hashes.end());
  return v;
}

Ids as_ids(const EncoderVocabulary& v, const std::vector<uint64_t>& pieces) {
  Ids out;
  for (const uint64_t h : pieces) out.push_back(v.id(h));
  return out;
}

// BERT's: of the chosen tokens 80 % become the mask, 10 % another token, 10 % stay.
Ids mask_tokens(Ids& ids, const EncoderOptions& o, Rng& rng) {
  Ids target(ids.size(), -1);
  for (size_t t = 0; t < ids.size(); ++t) {
    if (rng.uniform() >= o.masked) continue;
    target[t] = ids[t];
    const double what = rng.uniform();
    if (what < 0.8)
      ids[t] = kMaskId;
    else if (what < 0.9)
      ids[t] = 1 + static_cast<int32_t>(rng.below(static_cast<uint64_t>(o.vocabulary - 1)));
  }
  return target;
}

double pretrain(Trainer& trainer, const std::vector<Ids>& texts, const EncoderOptions& o, uint64_t seed) {
  std::vector<std::span<const int32_t>> windows;
  for (const Ids& text : texts)
    for (size_t at = 0; at < text.size(); at += static_cast<size_t>(o.max_tokens))
      windows.push_back(std::span(text).subspan(at, std::min(text.size() - at, static_cast<size_t>(o.max_tokens))));
  Rng rng(seed, 1);
  Progress progress("filling in", o.pretrain_tokens, "tok");
  double loss = 0, weight = 0;
  size_t next = windows.size();
  for (int64_t done = 0; done < o.pretrain_tokens;) {
    Batch b = encoder_batch();
    while (b.tokens() < o.batch_tokens) {
      if (next == windows.size()) rng.shuffle(windows.begin(), windows.end()), next = 0;
      if (b.tokens() > 0 && b.tokens() + static_cast<int64_t>(windows[next].size()) > o.batch_tokens) break;
      b.add(windows[next].data(), static_cast<int64_t>(windows[next].size()));
      ++next;
    }
    const Ids target = mask_tokens(b.ids, o, rng);
    const double l = trainer.fill_in(b, target, learning_rate(o.pretrain_lr, done, o.pretrain_tokens));
    done += b.tokens(), progress.add(b.tokens());
    loss = 0.98 * loss + 0.02 * l, weight = 0.98 * weight + 0.02;
    progress.note(cat("loss ", loss / weight));
  }
  return weight > 0 ? loss / weight : 0;
}

void fine_tune(Trainer& trainer, const std::vector<Ids>& all, const std::vector<LabelledText>& texts,
               std::vector<size_t> rows, const EncoderOptions& o, uint64_t seed) {
  Rng rng(seed, 2);
  const auto most = static_cast<size_t>(o.max_tokens);
  const auto total = static_cast<int64_t>(rows.size()) * o.epochs;
  int64_t done = 0;
  for (int64_t epoch = 0; epoch < o.epochs; ++epoch) {
    rng.shuffle(rows.begin(), rows.end());
    for (size_t i = 0; i < rows.size();) {
      Batch b = encoder_batch();
      std::vector<bool> positive;
      for (; i < rows.size(); ++i) {  // a window of each text, another one in each epoch
        const Ids& ids = all[rows[i]];
        const size_t n = std::min(ids.size(), most), from = ids.size() > n ? rng.below(ids.size() - n + 1) : 0;
        if (!positive.empty() && b.tokens() + static_cast<int64_t>(n) > o.batch_tokens) break;
        if (n == 0) continue;
        b.add(ids.data() + from, static_cast<int64_t>(n));
        positive.push_back(texts[rows[i]].positive);
      }
      if (positive.empty()) break;
      trainer.classify(b, positive, learning_rate(o.lr, done, total));
      done += static_cast<int64_t>(positive.size());
    }
  }
}

void write_encoder(const std::string& out, const std::string& info, const Calibration& c, const EncoderVocabulary& v,
                   Trainer& trainer) {
  SealedWriter file(out, kEncoderMagic, 1);
  file.write(info);
  file.pad();
  file.write_values(c.points.data(), c.points.size());
  file.write_values(v.hashes.data(), v.hashes.size());
  uint64_t floats = 0;
  Weights& w = trainer.net.weights;
  w.master.tensors.each(w.config, Head::kValue, [&](const std::string&, Tensor& t, Spec, int64_t) {
    file.write_values(t.as<float>(), static_cast<size_t>(t.numel()));
    floats += static_cast<uint64_t>(t.numel());
  });
  file.commit({info.size(), c.points.size(), v.hashes.size(), floats});
}

}  // namespace

Json train_encoder(const std::vector<LabelledText>& texts, const ClassifierOptions& o, const EncoderOptions& e,
                   const std::string& out) {
  const ModelConfig config = encoder_config(e);
  check_labels(texts, o);
  if ((e.pretrain_tokens > 0) == e.unlabelled.empty())
    fail("[classifier] encoder: give both unlabelled texts and pretrain_tokens, or neither");
  std::vector<std::vector<uint64_t>> pieces(texts.size());
  parallel_for(static_cast<int64_t>(texts.size()),
               [&](int64_t i) { pieces[static_cast<size_t>(i)] = encoder_pieces(texts[static_cast<size_t>(i)].text); });
  if (!e.unlabelled.empty())
    for_each_input(e.unlabelled, [&](Document&& d) { pieces.push_back(encoder_pieces(d.content)); });
  const EncoderVocabulary vocabulary = build_vocabulary(pieces, e.vocabulary);
  std::vector<Ids> labelled, unlabelled;
  for (size_t i = 0; i < pieces.size(); ++i)
    (i < texts.size() ? labelled : unlabelled).push_back(as_ids(vocabulary, pieces[i]));
  pieces.clear();

  const auto seed = static_cast<uint64_t>(o.seed), folds = static_cast<uint64_t>(o.folds);
  Trainer first(config, e);
  init_weights(first.net.weights, seed);
  const double filled = e.pretrain_tokens > 0 ? pretrain(first, unlabelled, e, seed) : 0;

  const std::vector<size_t> fold = fold_of(texts, o);
  std::vector<double> margins(texts.size());
  std::unique_ptr<Trainer> last;
  parallel_for(o.folds + 1, [&](int64_t k) {  // the last one sees everything
    auto trainer = std::make_unique<Trainer>(config, e);
    trainer->copy_weights(first);
    std::vector<size_t> rows;
    for (size_t i = 0; i < texts.size(); ++i)
      if (fold[i] != static_cast<size_t>(k)) rows.push_back(i);
    fine_tune(*trainer, labelled, texts, std::move(rows), e, seed);
    for (size_t i = 0; i < texts.size(); ++i)
      if (fold[i] == static_cast<size_t>(k)) margins[i] = trainer->net.margin(labelled[i]);
    log_info("encoder: model ", k + 1, " of ", folds + 1, " is trained");
    if (static_cast<uint64_t>(k) == folds) last = std::move(trainer);
  });
  Validated v = validate(texts, fold, margins, o);
  if (e.pretrain_tokens > 0) v.report["filling_in_loss"] = filled;
  v.report["parameters"] = config.num_params() - config.vocab_size * config.hidden_size + config.hidden_size;
  ClassifierOptions shown = o;
  EncoderOptions shape = e;
  const std::string info = Json(Json::Object{{"options", to_json(list_fields(shown))},
                                             {"encoder", to_json(list_fields(shape))},
                                             {"report", v.report}})
                               .dump();
  write_encoder(out, info, v.calibration, vocabulary, *last);
  return v.report;
}

}  // namespace puyu
