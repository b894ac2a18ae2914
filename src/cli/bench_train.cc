// puyu bench train: a training step's share of this machine's arithmetic.
#include <chrono>
#include <cstdio>

#include "cli/args.h"
#include "cli/bench.h"
#include "kernels/cpu/table.h"
#include "train/learner.h"

namespace puyu {
namespace {

// Small shapes that the peers' figures are of (docs/benchmarks/training-cpu.md).
ModelConfig bench_shape(const BenchOptions& o, const std::string& name) {
  struct Shape {
    const char* name;
    int64_t hidden, layers, heads, kv_heads, ffn, vocab;
  };
  constexpr Shape kShapes[] = {{"20m", 384, 6, 6, 2, 1024, 16000},
                               {"110m", 768, 12, 12, 4, 2048, 32000},
                               {"350m", 1024, 24, 16, 8, 2816, 32000}};
  for (const Shape& s : kShapes)
    if (name == s.name) {
      ModelConfig c;
      c.vocab_size = s.vocab, c.hidden_size = s.hidden, c.num_layers = s.layers, c.num_heads = s.heads;
      c.num_kv_heads = s.kv_heads, c.intermediate_size = s.ffn, c.max_position = o.sequence;
      c.validate();
      return c;
    }
  throw UsageError("--shapes: expected 20m, 110m or 350m, got '" + name + "'");
}

// FLOPs of a step as InternEvo reports them (utils/common.py, get_megatron_flops: after Narayanan et al. 2021, eq. 3):
// as many key-value heads as query heads, attention not halved for causality.
double megatron_flops(const ModelConfig& c, double tokens, double sequence) {
  auto h = static_cast<double>(c.hidden_size), layers = static_cast<double>(c.num_layers);
  double mlp = static_cast<double>(c.intermediate_size) / h * 1.5;  // SwiGLU has three matrices, not two
  return 3 * ((8 + 4 * mlp) * tokens * layers * h * h + 4 * tokens * layers * sequence * h) +
         6 * tokens * h * static_cast<double>(c.vocab_size);
}

double seconds(const std::function<void()>& f) {
  auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ModelConfig bench_config(const BenchOptions& o, int64_t hidden) {
  ModelConfig c;
  c.vocab_size = o.vocab;
  c.hidden_size = hidden;
  c.num_layers = o.layers;
  c.num_heads = std::max<int64_t>(hidden / 64, 2);
  c.num_kv_heads = c.num_heads / 2;
  c.intermediate_size = hidden * 4;  // as InternLM2-1.8B
  c.max_position = o.sequence;
  c.validate();
  return c;
}

TrainSpeed measure_training(const BenchOptions& o, const ModelConfig& shape) {
  TrainSpeed out;
  out.config = shape;
  Weights weights = make_weights(out.config, Head::kLanguage, o.dtype == "bf16" ? DType::kBF16 : DType::kF32);
  init_weights(weights, 1);
  Learner learner(std::move(weights), {}, Recompute::kNone);
  Batch batch;
  std::vector<int32_t> ids(static_cast<size_t>(o.sequence));
  Rng rng(1);
  for (int64_t done = 0; done < o.tokens; done += o.sequence) {
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(shape.vocab_size)));
    batch.add(ids.data(), o.sequence);
  }
  std::vector<int32_t> target(batch.ids.begin() + 1, batch.ids.end());
  target.push_back(-1);
  auto tokens = static_cast<double>(batch.tokens());
  std::vector<float> coef(target.size(), static_cast<float>(-1 / tokens));
  std::vector<double> updates;
  auto step = [&] {
    double compute = seconds([&] { learner.accumulate_lm(batch, target, coef); });
    updates.push_back(seconds([&] { learner.apply(1e-4); }));
    return compute + updates.back();
  };
  step();  // memory becomes real
  updates.clear();
  out.seconds = measure(o.rounds, step);
  size_t i = 0;
  out.update = measure(static_cast<int>(updates.size()), [&] { return updates[i++]; }).median;
  out.model_flops = out.config.train_flops_per_token(static_cast<double>(o.sequence)) * tokens;
  out.other_flops = megatron_flops(out.config, tokens, static_cast<double>(o.sequence));
  return out;
}

int run_bench_train(const BenchOptions& o) {
  if (o.dtype != "bf16" && o.dtype != "f32") throw UsageError("--dtype: expected bf16 or f32, got '" + o.dtype + "'");
  if (o.sequence < 2 || o.tokens % o.sequence != 0 || o.vocab < 2)
    throw UsageError("--tokens must be a multiple of --sequence (at least 2)");
  auto limits = measure_arithmetic(o.rounds);
  const Limit* peak = best_limit(limits, o.dtype);
  if (!peak) peak = best_limit(limits, "f32");  // no bf16 unit: bf16 is computed in f32
  TextTable table{{"hidden", "layers", "parameters", "step", "spread", "update", "tok/s", "GFLOP/s", "MFU", "Megatron"},
                  {},
                  std::vector<bool>(10, true)};
  Json j = Json::object();
  j["dtype"] = o.dtype, j["isa"] = cpu::isa_name(), j["threads"] = peak->threads;
  j["peak_flops"] = peak->rate.median, j["peak_how"] = peak->how, j["sequence"] = o.sequence, j["tokens"] = o.tokens;
  std::vector<ModelConfig> configs;
  for (const std::string& name : o.shapes) configs.push_back(bench_shape(o, name));
  if (configs.empty())
    for (int64_t hidden : o.hidden) configs.push_back(bench_config(o, hidden));
  for (const ModelConfig& config : configs) {
    TrainSpeed s = measure_training(o, config);
    double median = s.seconds.median, mfu = s.model_flops / median / peak->rate.median;
    double other = s.other_flops / median / peak->rate.median, speed = static_cast<double>(o.tokens) / median;
    table.rows.push_back({std::to_string(config.hidden_size), std::to_string(config.num_layers),
                          fixed(static_cast<double>(s.config.num_params()) / 1e6, 1) + " M", fixed(median, 3) + " s",
                          fixed(s.seconds.low, 3) + "–" + fixed(s.seconds.high, 3),
                          fixed(s.update / median * 100, 0) + " %", fixed(speed, 0),
                          fixed(s.model_flops / median / 1e9, 0), fixed(mfu * 100, 1) + " %",
                          fixed(other * 100, 1) + " %"});
    Json row = Json::object();
    row["hidden"] = config.hidden_size, row["layers"] = config.num_layers, row["parameters"] = s.config.num_params();
    row["step_seconds"] = median, row["step_low"] = s.seconds.low, row["step_high"] = s.seconds.high;
    row["update_seconds"] = s.update, row["tokens_per_second"] = speed, row["mfu"] = mfu, row["megatron"] = other;
    j["sizes"].push(std::move(row));
  }
  if (o.json) return std::printf("%s\n", j.dump().c_str()), 0;
  std::printf("%s, sequences of %ld, %ld tokens a step, %d threads; peak of this run: %.0f GFLOP/s (%s)\n\n",
              o.dtype.c_str(), static_cast<long>(o.sequence), static_cast<long>(o.tokens), peak->threads,
              peak->rate.median / 1e9, peak->how.c_str());
  std::printf(
      "%s\nMFU: causal GQA FLOPs of the model (recompute not counted) / peak. Megatron: the formula of InternEvo and\n"
      "Megatron-LM for the same step (attention not halved, no GQA).\n",
      to_text(table).c_str());
  return 0;
}

}  // namespace puyu
