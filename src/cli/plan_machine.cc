#include <algorithm>

#include "base/parallel.h"
#include "cli/bench.h"
#include "cli/plan.h"
#include "engine/serve_plan.h"
#include "train/plan.h"

namespace puyu {
namespace {

constexpr double kFast = 1e12;  // a rate that costs nothing

// Seconds of a bench's step by the planner's equations, one kind of work at a time at its full rate.
struct Ideal {
  double products = 0, attention = 0, elements = 0, optimizer = 0;
};
Ideal ideal_times(const TrainJob& job, const Cluster& full) {
  auto with = [&](bool products, bool attention, bool memory) {
    Cluster c = full;
    c.gemm_share = products ? 1 : kFast, c.attention_share = attention ? 1 : kFast, c.memory_share = memory ? 1 : kFast;
    RankLayout l;
    l.data = 1;
    return plan_time(job, l, c);
  };
  const TimePlan memory = with(false, false, true);
  return {with(true, false, false).total(), with(false, true, false).total(), memory.forward + memory.backward,
          memory.optimizer};
}

struct Sample {
  Ideal ideal;
  double model = 0, update = 0;  // measured seconds
};
Sample take_sample(BenchOptions o, int64_t sequence, const Cluster& full) {
  o.sequence = sequence;
  const TrainSpeed s = measure_training(o, bench_config(o, o.hidden[0]));
  TrainJob job;
  job.model = s.config, job.dtype = o.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  job.sequence = sequence, job.batch_tokens = job.micro_tokens = o.tokens;
  return {ideal_times(job, full), s.seconds.median - s.update, s.update};
}

}  // namespace

Cluster measure_machine(int64_t ranks, const std::string& dtype) {
  BenchOptions o;
  o.rounds = 3, o.hidden = {768}, o.layers = 2, o.tokens = 2048, o.vocab = 8192, o.dtype = dtype;
  const auto limits = measure_arithmetic(o.rounds), reading = measure_reading(o.rounds);
  const Limit *f32 = best_limit(limits, "f32"), *bf16 = best_limit(limits, "bf16"), *read = best_limit(reading, "read");
  Cluster c;
  c.f32_tflops = f32->rate.median / 1e12, c.bf16_tflops = (bf16 ? bf16 : f32)->rate.median / 1e12;
  c.memory_gbs = read->rate.median / 1e9, c.memory_gb = static_cast<double>(available_memory()) / 1e9;
  const Sample few = take_sample(o, 128, c), many = take_sample(o, 2048, c);
  auto share = [](double v) { return std::clamp(v, 0.05, 1.0); };
  c.memory_share = share((few.ideal.optimizer + many.ideal.optimizer) / (few.update + many.update));
  // Two steps of other sequence lengths are two equations for the shares of products and of attention.
  auto left = [&](const Sample& s) { return s.model - s.ideal.elements / c.memory_share; };
  const double a = few.ideal.products, b = few.ideal.attention, d = many.ideal.products, e = many.ideal.attention;
  const double det = a * e - b * d, x = (left(few) * e - b * left(many)) / det,
               y = (a * left(many) - d * left(few)) / det;
  c.gemm_share = share(1 / x), c.attention_share = y > 0 ? share(1 / y) : 1;
  // Ranks on one machine talk through its memory: in, out and in again.
  c.intra_gbs = c.inter_gbs = c.memory_gbs / 3, c.intra_us = c.inter_us = 20, c.link_share = 0.85, c.overlap = 0.5;
  c.devices = ranks;
  const auto n = static_cast<double>(ranks);
  c.f32_tflops /= n, c.bf16_tflops /= n, c.memory_gbs /= n, c.memory_gb /= n, c.intra_gbs /= n;
  return c;
}

}  // namespace puyu
