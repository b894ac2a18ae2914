// puyu bench generate: prefill and decode of one engine, as llama-bench counts them (pp512, tg128), with the share of
// what this machine's arithmetic and memory allow.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cli/args.h"
#include "cli/bench.h"
#include "engine/engine.h"
#include "kernels/cpu/table.h"

namespace puyu {
namespace {

struct Row {
  std::string test, weights;
  double tokens = 0;  // of one measurement
  Spread seconds;
  double flops = 0, bytes = 0;  // needed for those tokens
  Spread read = {};             // B/s around each measurement: a machine's memory may change its speed within seconds
  Spread share = {};            // of what the limits around each measurement allow
  double peak = 0;              // FLOP/s or op/s
};

// Weights of a published shape. Values repeat: speed does not depend on them.
Weights random_weights(const ModelConfig& c) {
  Weights w;
  w.config = c, w.compute = DType::kBF16;
  w.copy = make_tensor_set("weights bf16", c, Head::kLanguage, DType::kBF16);
  std::vector<BF16> values(65537);
  Rng rng(1);
  for (BF16& v : values) v = to_bf16(static_cast<float>(rng.normal() * 0.02));
  w.copy.tensors.each(c, Head::kLanguage, [&](const std::string&, Tensor& t, Spec, int64_t) {
    auto* p = t.as<BF16>();
    const auto n = static_cast<int64_t>(values.size());
    for (int64_t i = 0; i < t.numel(); i += n) std::copy_n(values.begin(), std::min(n, t.numel() - i), p + i);
  });
  return w;
}

double block_weights(const ModelConfig& c) {
  return static_cast<double>(c.num_layers) *
         static_cast<double>(c.hidden_size * (c.heads().row() + c.num_heads * c.hd() + 3 * c.intermediate_size));
}
double head_weights(const ModelConfig& c) { return static_cast<double>(c.vocab_size * c.hidden_size); }

double elapsed(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Sequences that are never finished by the model, only by their length. Each seed makes other prompts.
void submit(Engine& e, uint64_t seed, int64_t sequences, int64_t prompt, int64_t answer) {
  Rng rng(seed);
  for (int64_t i = 0; i < sequences; ++i) {
    Request r;
    for (int64_t t = 0; t < prompt; ++t)
      r.prompt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(e.config().vocab_size))));
    r.sampling.temperature = 0, r.sampling.max_tokens = static_cast<int>(answer);
    e.submit(std::move(r));
  }
}

double prefill_seconds(Engine& e, uint64_t seed, int64_t prompt) {
  submit(e, seed, 1, prompt, 1);
  return elapsed([&] {
    while (e.step()) continue;
  });
}
double decode_seconds(Engine& e, int64_t sequences, int64_t tokens) {
  submit(e, 2, sequences, 1, tokens + 1);
  e.step();
  return elapsed([&] {
    while (e.step()) continue;
  });
}

// Knows what greedy decoding will say, so that every guess is right: what guessing can gain at best.
class Oracle : public Drafter {
 public:
  explicit Oracle(std::vector<int32_t> known) : known_(std::move(known)) {}
  std::vector<std::vector<int32_t>> propose(const std::vector<std::span<const int32_t>>& sequences, int n) override {
    const auto at = static_cast<int64_t>(std::min(sequences[0].size(), known_.size()));
    const auto end = std::min(at + n, static_cast<int64_t>(known_.size()));
    return {{known_.begin() + at, known_.begin() + end}};
  }

 private:
  std::vector<int32_t> known_;
};

struct Bench {
  const BenchOptions& options;
  std::vector<Limit> arithmetic;
  std::vector<Row> rows = {};

  double reading() const { return best_limit(measure_reading(3), "read")->rate.median; }
  double peak(const std::string& weights) const {
    for (const char* name : {weights.ends_with("a8") ? "int8" : "bf16", "f32"})
      if (const Limit* l = best_limit(arithmetic, name)) return l->rate.median;
    fail("[bench] no arithmetic was measured");
  }
  void add(Row row, const std::function<double()>& seconds) {
    row.peak = peak(row.weights);
    std::vector<double> took, read, share;
    double before = reading();
    for (int i = 0; i < std::max(options.rounds, 1); ++i) {
      took.push_back(seconds());
      const double after = reading();
      read.push_back((before + after) / 2);
      share.push_back(std::max(row.flops / row.peak, row.bytes / read.back()) / took.back());
      before = after;
    }
    row.seconds = spread_of(took), row.read = spread_of(read), row.share = spread_of(share);
    rows.push_back(std::move(row));
  }
  // The sequence that decode_seconds() will see.
  std::vector<int32_t> answer(Engine& e) const {
    Rng rng(2);
    std::vector<int32_t> all = {static_cast<int32_t>(rng.below(static_cast<uint64_t>(e.config().vocab_size)))};
    SamplingOptions greedy;
    greedy.temperature = 0, greedy.max_tokens = static_cast<int>(options.generate) + 1;
    const std::vector<int32_t> rest = e.generate_tokens({all}, greedy, {})[0].tokens;
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  }
  void run(Weights& w, const std::string& weights) {
    const ModelConfig& c = w.config;
    EngineOptions o;
    o.max_batch = std::max<int64_t>(1, *std::max_element(options.batch.begin(), options.batch.end()));
    o.max_tokens_per_step = std::max(options.prompt, o.max_batch);
    o.kv_tokens = o.max_batch * (options.generate + 2 * kPage) + options.prompt + kPage;
    o.weights = weights == "bf16" ? "" : weights;
    Engine e(w, o);
    const double element = weights == "w8a8" || weights == "w4a8" ? 1 : 2,  // of the head
        block_element = weights.starts_with("w4") ? 0.5 + 8.0 / kQuantGroup : element, blocks = block_weights(c),
                 head = head_weights(c);
    const auto P = static_cast<double>(options.prompt), G = static_cast<double>(options.generate);
    const auto scores = 2.0 * static_cast<double>(c.num_layers * c.num_heads * c.hd());  // FLOPs a pair of tokens, x 2
    uint64_t seed = 100;                       // a prompt of its own each time, or the prefix cache would know it
    prefill_seconds(e, seed, options.prompt);  // memory becomes real
    Row pp{
        "pp" + std::to_string(options.prompt), weights, P, {}, 2 * blocks * P + 2 * head + scores * P * P, 0, 0, 0, 0};
    pp.bytes = (blocks * block_element + head * element);
    add(pp, [&] { return prefill_seconds(e, ++seed, options.prompt); });
    Row again = pp;
    again.test += " known", again.flops = 2 * (blocks + head);
    add(again, [&] { return prefill_seconds(e, seed, options.prompt); });
    for (int64_t batch : options.batch) {
      const auto B = static_cast<double>(batch), kv = static_cast<double>(KvPages::bytes_per_token(c, w.compute, 0));
      Row tg{"tg" + std::to_string(options.generate) + (batch > 1 ? " x " + std::to_string(batch) : ""),
             weights,
             B * G,
             {},
             B * G * (2 * (blocks + head) + scores * G),
             0,
             0,
             0,
             0};
      tg.bytes = G * (blocks * block_element + head * element + B * kv * G / 2);
      add(tg, [&] { return decode_seconds(e, batch, options.generate); });
      if (batch > 1) continue;
      e.set_drafter(std::make_unique<Oracle>(answer(e)));
      Row guessed = tg;
      guessed.test += " guessed", guessed.bytes /= o.draft_tokens + 1;
      add(guessed, [&] { return decode_seconds(e, 1, options.generate); });
      e.set_drafter({});
    }
  }
};

}  // namespace

int run_bench_generate(const BenchOptions& o) {
  if (o.prompt < 1 || o.generate < 1 || o.batch.empty() || *std::min_element(o.batch.begin(), o.batch.end()) < 1)
    throw UsageError("--prompt, --generate and --batch: expected at least 1");
  for (const std::string& w : o.weights)
    if (w != "bf16" && w != "w8a8" && w != "w4a16" && w != "w4a8")
      throw UsageError("--weights: expected bf16, w8a8, w4a8 or w4a16, got '" + w + "'");
  Weights weights = random_weights(published_config(o.size));
  Bench bench{o, measure_arithmetic(o.rounds)};
  for (const std::string& w : o.weights) bench.run(weights, w);
  TextTable table{{"weights", "test", "tok/s", "spread", "ms a token", "of the limit", "bound by", "read GB/s"},
                  {},
                  {false, false, true, true, true, true, false, true}};
  Json j = Json::object();
  j["model"] = "InternLM2 " + o.size + ", random", j["isa"] = cpu::isa_name();
  for (const Row& r : bench.rows) {
    const double rate = r.tokens / r.seconds.median;
    const bool memory = r.bytes / r.read.median > r.flops / r.peak;
    table.rows.push_back({r.weights, r.test, fixed(rate, 1),
                          fixed(r.tokens / r.seconds.high, 1) + "–" + fixed(r.tokens / r.seconds.low, 1),
                          fixed(1e3 / rate, 2), fixed(r.share.median * 100, 0) + " %",
                          memory ? "reading" : "arithmetic",
                          fixed(r.read.low / 1e9, 1) + "–" + fixed(r.read.high / 1e9, 1)});
    Json row = Json::object();
    row["weights"] = r.weights, row["test"] = r.test, row["tokens_per_second"] = rate, row["of_limit"] = r.share.median;
    row["bound"] = memory ? "reading" : "arithmetic", row["flops"] = r.flops, row["bytes"] = r.bytes;
    row["peak"] = r.peak, row["read"] = r.read.median;
    j["rows"].push(std::move(row));
  }
  if (o.json) return std::printf("%s\n", j.dump().c_str()), 0;
  std::printf("InternLM2 %s, random weights, kernels: %s\n\n%s\n", o.size.c_str(), cpu::isa_name().c_str(),
              to_text(table).c_str());
  std::printf(
      "pp: prompt tokens in one step; known: the same prompt again, from the prefix cache; tg: tokens after the "
      "first;\n"
      "guessed: speculative decoding whose guesses are all right, its best case. Limit: the larger of FLOPs / peak and "
      "bytes / read\n"
      "bandwidth, both measured in this run (the bandwidth right before and after each measurement). Medians of %d.\n",
      o.rounds);
  return 0;
}

}  // namespace puyu
