// The parts of 'puyu bench': each prints a table, or JSON for programs.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/bench_peak.h"
#include "eval/text_table.h"
#include "model/config.h"

namespace puyu {

struct BenchOptions {
  bool json = false;
  int rounds = 5;
  std::vector<int64_t> hidden = {256, 512, 1024};
  std::vector<std::string> shapes;
  int64_t layers = 2;
  int64_t sequence = 1024;
  int64_t tokens = 2048;
  int64_t vocab = 8192;
  std::string dtype = "bf16";
  std::string size = "1.8b";
  std::vector<std::string> weights = {"bf16", "w8a8", "w4a8", "w4a16"};
  int64_t prompt = 512;
  int64_t generate = 128;
  std::vector<int64_t> batch = {1, 16};
  template <class F>
  void fields(F&& f) {
    f("json", json, "print JSON");
    f("rounds", rounds, "measurements of each number; the median is printed");
    f("hidden", hidden, "train: hidden sizes");
    f("shapes", shapes, "train: 20m, 110m or 350m, instead of --hidden, --layers and --vocab");
    f("layers", layers, "train: transformer blocks");
    f("sequence", sequence, "train: tokens a sequence");
    f("tokens", tokens, "train: tokens a step");
    f("vocab", vocab, "train: vocabulary");
    f("dtype", dtype, "train: bf16 or f32 compute");
    f("size", size, "generate: a published InternLM2 shape: 1.8b, 7b or 20b");
    f("weights", weights, "generate: kinds of weights, bf16, w8a8, w4a8 or w4a16");
    f("prompt", prompt, "generate: tokens of the prompt");
    f("generate", generate, "generate: tokens of an answer");
    f("batch", batch, "generate: sequences that decode at once");
  }
};

struct TrainSpeed {
  ModelConfig config;
  Spread seconds;          // a whole step: forward, backward, update
  double update = 0;       // of it the optimizer, median
  double model_flops = 0;  // FLOPs of a step, causal GQA, recompute not counted
  double other_flops = 0;  // the same step by InternEvo's and Megatron's formula
};
ModelConfig bench_config(const BenchOptions& options, int64_t hidden);  // 4 x hidden in the MLP, heads of 64
TrainSpeed measure_training(const BenchOptions& options, const ModelConfig& shape);

int run_bench_limits(const BenchOptions& options);
int run_bench_train(const BenchOptions& options);
int run_bench_generate(const BenchOptions& options);
int run_bench_serve(const std::vector<std::string>& argv);  // its options are of its own

}  // namespace puyu
