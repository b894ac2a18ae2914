#include "model/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/signal.h"
#include "model/hf_config.h"

namespace puyu {
namespace {

constexpr int64_t kReserve = int64_t{1} << 40;  // address space, not memory
constexpr int64_t kBatchTokens = 2048;
constexpr int64_t kJudges = 8;  // sequences that the search tokens come from

// The calibration tokens on their way through the blocks.
class Calibration {
 public:
  Calibration(Ctx& ctx, Weights& w, const std::vector<std::vector<int32_t>>& sequences, int64_t search_tokens)
      : ctx_(ctx), w_(w), sequences_(sequences), hidden_("hidden states", kReserve), work_("calibration", kReserve) {
    int64_t tokens = 0, longest = 0;
    for (const auto& s : sequences) {
      tokens += static_cast<int64_t>(s.size());
      longest = std::max(longest, static_cast<int64_t>(s.size()));
    }
    if (tokens == 0) return;
    x_ = hidden_.alloc(w.compute, {tokens, w.config.hidden_size});
    rope_table_ = make_rope_table(hidden_, w.config, longest);
    int64_t at = 0;
    for (const auto& s : sequences) {
      const auto n = static_cast<int64_t>(s.size());
      embedding(ctx, x_.rows(at, at + n), w.use().tok_embeddings, s.data());
      at += n;
    }
    const auto count = static_cast<int64_t>(sequences.size()), judges = std::min(count, kJudges);
    for (int64_t j = 0; j < judges; ++j) {
      const auto& s = sequences[static_cast<size_t>(j * count / judges)];
      const auto n = std::min<int64_t>(static_cast<int64_t>(s.size()), std::max<int64_t>(1, search_tokens / judges));
      judges_[j * count / judges] = n;
      seen_.batch.add(s.data(), n);
    }
    seen_.rope_table = rope_table_;
  }
  bool empty() const { return !x_; }

  // Runs one block; its views live until the next call.
  const BlockSeen& run(int64_t layer) {
    const Block<Tensor>& block = w_.use().layers[static_cast<size_t>(layer)];
    const ModelConfig& c = w_.config;
    const int64_t S = seen_.batch.tokens();
    work_.release(0);
    auto prepare = [&](Seen& s, int64_t channels) {
      s.mean.assign(static_cast<size_t>(channels), 0), s.most.assign(static_cast<size_t>(channels), 0);
      s.rows = work_.alloc(w_.compute, {S, channels});
    };
    prepare(seen_.attention_in, c.hidden_size), prepare(seen_.attention_out, c.num_heads * c.hd());
    prepare(seen_.ffn_in, c.hidden_size), prepare(seen_.ffn_mid, c.intermediate_size);
    int64_t judged = 0;
    for (size_t begin = 0, end; begin < sequences_.size(); begin = end) {
      if (interrupted()) fail("[quantize] interrupted; nothing was written");
      Batch b;
      for (end = begin; end < sequences_.size(); ++end) {
        const auto n = static_cast<int64_t>(sequences_[end].size());
        if (end > begin && b.tokens() + n > kBatchTokens) break;
        b.add(sequences_[end].data(), n);
      }
      run_batch(block, b, begin, judged);
    }
    at_ = 0;
    for (Seen* s : {&seen_.attention_in, &seen_.attention_out, &seen_.ffn_in, &seen_.ffn_mid})
      for (float& m : s->mean) m /= static_cast<float>(x_.size(0));
    return seen_;
  }

 private:
  void run_batch(const Block<Tensor>& block, const Batch& b, size_t first, int64_t& judged) {
    ScratchScope scope(work_);
    const ModelConfig& c = w_.config;
    Saved saved = alloc_saved(work_, c, b.tokens(), w_.compute, Recompute::kNone);
    block_forward(ctx_, c, block, x_.rows(at_, at_ + b.tokens()), b.sequences(rope_table_), &saved);
    at_ += b.tokens();
    const std::pair<Seen*, Tensor> all[] = {{&seen_.attention_in, saved.h1},
                                            {&seen_.attention_out, saved.attn},
                                            {&seen_.ffn_in, saved.h2},
                                            {&seen_.ffn_mid, saved.act}};
    for (auto [s, from] : all) note(*s, from);
    for (size_t i = 0; i + 1 < b.cu.size(); ++i) {
      const auto judge = judges_.find(static_cast<int64_t>(first + i));
      if (judge == judges_.end()) continue;
      for (auto [s, from] : all) {
        const Tensor rows = from.rows(b.cu[i], b.cu[i] + judge->second);
        std::memcpy(s->rows.rows(judged, judged + judge->second).data, rows.data, static_cast<size_t>(rows.nbytes()));
      }
      judged += judge->second;
    }
  }
  static void note(Seen& s, const Tensor& x) {
    const int64_t K = x.size(1);
    std::vector<double> sum(static_cast<size_t>(K));
    for (int64_t t = 0; t < x.size(0); ++t)
      for (int64_t k = 0; k < K; ++k) {
        const float v =
            std::fabs(x.dtype == DType::kF32 ? x.as<float>()[t * K + k] : to_float(x.as<BF16>()[t * K + k]));
        const auto i = static_cast<size_t>(k);
        sum[i] += static_cast<double>(v);
        s.most[i] = std::max(s.most[i], v);
      }
    for (size_t k = 0; k < sum.size(); ++k) s.mean[k] += static_cast<float>(sum[k]);
  }

  Ctx& ctx_;
  Weights& w_;
  const std::vector<std::vector<int32_t>>& sequences_;
  Arena hidden_, work_;
  Tensor x_, rope_table_;
  std::map<int64_t, int64_t> judges_;  // sequence -> its first tokens that are kept
  BlockSeen seen_;
  int64_t at_ = 0;
};

// What the file will hold, computed block by block as it is written.
class Writer {
 public:
  Writer(Ctx& ctx, Weights& w, const std::vector<std::vector<int32_t>>& sequences, const QuantizeOptions& o,
         const QuantizeProgress& progress)
      : ctx_(ctx),
        w_(w),
        options_(o),
        progress_(progress),
        calibration_(ctx, w, sequences, o.search_tokens),
        layer_("a block", kReserve) {
    w.use().each(w.config, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t layer) {
      if (layer >= 0 && t.rank == 2)
        add_matrix(name, t, layer);
      else if (layer >= 0)
        add_plain(name, t, layer);
      else if (name == "output.weight" && o.scheme == "w8a8")
        add_matrix(name, t, -1);
      else
        add_plain(name, t, -1);
    });
    if (w.config.tie_embeddings && w.head == Head::kLanguage && o.scheme == "w8a8")
      add_matrix("output.weight", w.output(), -1);
  }
  const std::vector<PendingTensor>& tensors() const { return list_; }

 private:
  using Write = std::function<void(std::string_view)>;
  static std::string_view bytes_of(const Tensor& t) {
    return {static_cast<const char*>(t.data), static_cast<size_t>(t.nbytes())};
  }
  void done(int64_t weights) const {
    if (progress_.done) progress_.done(weights);
  }

  void add_plain(const std::string& name, Tensor t, int64_t layer) {
    list_.push_back({name, w_.compute, {t.shape, t.shape + t.rank}, [this, name, t, layer](const Write& write) {
                       if (layer < 0) {
                         write(bytes_of(t));
                       } else {
                         prepare(layer);
                         write_as_stored(vectors_.at(name), write);
                       }
                       done(t.numel());
                     }});
  }
  void write_as_stored(Tensor f32, const Write& write) {
    if (w_.compute == DType::kF32) return write(bytes_of(f32));
    ScratchScope scope(*ctx_.scratch);
    Tensor t = ctx_.scratch->alloc(DType::kBF16, {f32.numel()});
    cast(ctx_, t, f32);
    write(bytes_of(t));
  }

  void add_matrix(const std::string& name, Tensor t, int64_t layer) {
    const std::string base = name.substr(0, name.rfind('.'));
    const int64_t N = t.shape[0], K = t.shape[1], groups = quant_groups(K);
    auto add = [&](const char* part, DType dtype, std::vector<int64_t> shape, auto&& bytes) {
      list_.push_back({base + part, dtype, std::move(shape),
                       [this, name, t, layer, bytes](const Write& write) { bytes(numbers(name, t, layer), write); }});
    };
    if (options_.scheme == "w8a8") {
      add(".qweight", DType::kI8, {N, K}, [](const QuantizedWeight& q, const Write& write) { write(bytes_of(q.q)); });
      add(".scales", DType::kF32, {N}, [this, n = N * K](const QuantizedWeight& q, const Write& write) {
        write(bytes_of(q.scale));
        done(n);
      });
      return;
    }
    add(".qweight", DType::kU8, {N, (K + 1) / 2},
        [](const QuantizedWeight& q, const Write& write) { write(pack_nibbles(q.q)); });
    add(".scales", DType::kF32, {N, groups},
        [](const QuantizedWeight& q, const Write& write) { write(bytes_of(q.scale)); });
    add(".zeros", DType::kU8, {N, groups}, [this, n = N * K](const QuantizedWeight& q, const Write& write) {
      std::string zeros;
      for (int64_t i = 0; i < q.zero.numel(); ++i)
        zeros += static_cast<char>(static_cast<uint8_t>(q.zero.as<float>()[i]));
      write(zeros);
      done(n);
    });
  }

  const QuantizedWeight& numbers(const std::string& name, Tensor t, int64_t layer) {
    if (layer >= 0) {
      prepare(layer);
      return numbers_.at(name);
    }
    if (!numbers_.contains(name)) {
      layer_.release(0);
      Ctx own{ctx_.device, &layer_};
      numbers_[name] = quantize_weight(own, t, options_.scheme);
    }
    return numbers_.at(name);
  }

  // The block's tensors as they will be stored.
  void prepare(int64_t layer) {
    if (layer == layer_now_) return;
    layer_now_ = layer;
    layer_.release(0), numbers_.clear(), vectors_.clear();
    Block<Tensor>& from = w_.use().layers[static_cast<size_t>(layer)];
    std::vector<Tensor> plain;
    from.each(w_.config, [&](const char*, Tensor& t, Spec) { plain.push_back(t); });
    Block<Tensor> block;
    size_t i = 0;
    block.each(w_.config, [&](const char*, Tensor& t, Spec) {
      const Tensor& p = plain[i++];
      t = p.rank == 2 ? layer_.alloc(DType::kF32, {p.shape[0], p.shape[1]}) : layer_.alloc(DType::kF32, {p.shape[0]});
      cast(ctx_, t, p);
    });
    if (!calibration_.empty()) scale(layer, from, block);
    Ctx own{ctx_.device, &layer_};
    block.each(w_.config, [&](const char* name, Tensor& t, Spec) {
      const std::string full = cat("model.layers.", layer, ".", name);
      if (t.rank == 2)
        numbers_[full] = quantize_weight(own, t, options_.scheme);
      else
        vectors_[full] = t;
    });
  }

  void scale(int64_t layer, const Block<Tensor>& from, Block<Tensor>& block) {
    const BlockSeen& seen = calibration_.run(layer);
    const ScaleOptions o{options_.scheme, options_.search ? -1 : options_.alpha, options_.clip};
    const BlockScales s = search_scales(ctx_, w_.config, from, block, seen, o);
    fold_scales(block, s, w_.compute);
    if (o.clip && options_.scheme != "w8a8") clip_groups(ctx_, w_.config, block, seen, s);
    if (progress_.block) progress_.block(layer, s);
  }

  Ctx& ctx_;
  Weights& w_;
  QuantizeOptions options_;
  const QuantizeProgress& progress_;
  Calibration calibration_;
  Arena layer_;
  int64_t layer_now_ = -1;
  std::map<std::string, QuantizedWeight> numbers_;
  std::map<std::string, Tensor> vectors_;
  std::vector<PendingTensor> list_;
};

}  // namespace

void validate(const QuantizeOptions& o) {
  if (!is_scheme(o.scheme)) fail("[quantize] scheme: expected ", kSchemes, ", got '", o.scheme, "'");
  if (!(o.alpha >= 0 && o.alpha <= 1)) fail("[quantize] alpha: expected 0 to 1, got ", o.alpha);
  if (o.search_tokens < 1) fail("[quantize] search_tokens: expected at least 1, got ", o.search_tokens);
}

void quantize_model(Ctx& ctx, Weights& w, const std::vector<std::vector<int32_t>>& sequences, const QuantizeOptions& o,
                    const std::string& folder, const QuantizeProgress& progress) {
  validate(o);
  if (w.source && !w.source->scheme().empty())
    fail("[quantize] '", w.source->path(), "' is quantised already (", w.source->scheme(),
         "); quantise the model it was made of");
  Writer writer(ctx, w, sequences, o, progress);
  QuantizationConfig q;
  q.form = QuantizationConfig::Form::kPuyu, q.scheme = o.scheme;
  const std::string header =
      safetensors_header(writer.tensors(), {{"format", "puyu-quantized"}, {"version", "1"}, {"scheme", o.scheme}});
  q.checksum = hex64(write_safetensors(folder + "/model.safetensors", header, writer.tensors()));
  Json config = to_hf_config(w.config, w.head);
  config["torch_dtype"] = w.compute == DType::kF32 ? "float32" : "bfloat16";
  config["quantization_config"] = to_json(q);
  write_file(folder + "/config.json", config.dump(2) + "\n");
}

int64_t model_bytes(const ModelConfig& c, Head head, DType dtype, const std::string& scheme) {
  int64_t sum = 0;
  auto matrix = [&](int64_t N, int64_t K) {
    if (scheme.empty()) return N * K * dtype_size(dtype);
    return scheme == "w8a8" ? N * K + 4 * N : N * ((K + 1) / 2) + 5 * N * quant_groups(K);
  };
  Model<int> model;
  model.each(c, head, [&](const std::string& name, int&, Spec s, int64_t layer) {
    const bool quantised = (layer >= 0 && s.cols > 0) || (name == "output.weight" && scheme == "w8a8");
    sum += quantised ? matrix(s.rows, s.cols) : s.rows * std::max<int64_t>(s.cols, 1) * dtype_size(dtype);
  });
  if (c.tie_embeddings && head == Head::kLanguage && scheme == "w8a8") sum += matrix(c.vocab_size, c.hidden_size);
  return sum;
}

}  // namespace puyu
