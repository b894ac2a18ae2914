// What other programs are compared with, in full. IDS: a text file, one sequence of token ids a line.
//   interop_probe logprobs MODEL DTYPE IDS OUT    log-probs of the whole vocabulary after each token but the last, as
//   the engine
//                                                 computes them: little-endian f32, [tokens - 1, vocab] for each
//                                                 sequence
//   interop_probe step MODEL IDS OUT              one training step in f32, mean loss over all sequences: the gradients
//   and the
//                                                 weights after it, as safetensors; prints loss and grad_norm
// DTYPE: f32 or bf16, the type that computes.
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "engine/engine.h"
#include "train/learner.h"

namespace puyu {
namespace {

using Ids = std::vector<std::vector<int32_t>>;

Ids read_ids(const std::string& path) {
  Ids out;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    out.emplace_back();
    for (int32_t id; words >> id;) out.back().push_back(id);
    if (out.back().size() < 2 || !words.eof()) fail(path, ":", out.size(), ": expected two token ids or more");
  }
  return out;
}

int logprobs(const std::string& dir, const std::string& dtype, const std::string& ids, const std::string& out) {
  Arena scratch("scratch", int64_t{1} << 32);
  Ctx ctx{Device::kCpu, &scratch};
  Weights w = load_for_inference(ctx, dir, Head::kLanguage, dtype == "f32" ? DType::kF32 : DType::kBF16);
  const Ids sequences = read_ids(ids);
  int64_t longest = 0;
  for (const auto& s : sequences) longest = std::max(longest, static_cast<int64_t>(s.size()));
  EngineOptions o;
  if (longest >= w.config.context()) o.context = longest + 1;  // refused where the model's positions end
  Engine engine(w, o);
  const auto V = static_cast<size_t>(w.config.vocab_size);
  std::string bytes;
  for (const auto& s : sequences) {
    std::vector<float> rows;
    std::vector<Request> requests(1);
    Request& r = requests[0];
    r.prompt = s;
    r.sampling.max_tokens = 1;
    r.prompt_logprobs = static_cast<int>(V);
    r.on_prompt_token = [&](const Token& t) {
      CHECK(t.top.size() == V);
      rows.resize(rows.size() + V);
      for (const TokenLogp& x : t.top) rows[rows.size() - V + static_cast<size_t>(x.id)] = x.logp;
    };
    engine.run(std::move(requests));
    CHECK(rows.size() == (s.size() - 1) * V);
    bytes.append(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(float));
  }
  write_file(out, bytes);
  return 0;
}

int step(const std::string& dir, const std::string& ids, const std::string& out) {
  Arena scratch("scratch", int64_t{1} << 32);
  Ctx ctx{Device::kCpu, &scratch};
  Learner learner(load_model(ctx, dir, Head::kLanguage, DType::kF32), {}, Recompute::kNone);
  Batch b;
  std::vector<int32_t> target;
  for (const auto& s : read_ids(ids)) {
    const auto n = static_cast<int64_t>(s.size()) - 1;
    b.add(s.data(), n);
    target.insert(target.end(), s.begin() + 1, s.end());
  }
  const std::vector<float> coef(target.size(), -1.0f / static_cast<float>(target.size()));
  const LmSums sums = learner.accumulate_lm(b, target, coef);
  Arena kept("gradients", learner.weights().config.num_params() * 4 + (1 << 20));
  std::vector<NamedTensor> list;
  Weights& w = learner.weights();
  learner.gradients().each(w.config, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    Tensor copy =
        t.rank > 1 ? kept.alloc(DType::kF32, {t.shape[0], t.shape[1]}) : kept.alloc(DType::kF32, {t.shape[0]});
    std::copy_n(t.as<float>(), t.numel(), copy.as<float>());
    list.push_back({"gradient." + name, copy});
  });
  const StepResult r = learner.apply(1e-3);
  w.master.tensors.each(w.config, w.head, [&](const std::string& name, Tensor& t, Spec, int64_t) {
    list.push_back({"after." + name, t});
  });
  write_safetensors(out, list, {});
  std::printf("{\"loss\": %.9g, \"grad_norm\": %.9g}\n", -sums.logp / static_cast<double>(sums.tokens), r.grad_norm);
  return 0;
}

}  // namespace
}  // namespace puyu

int main(int argc, char** argv) try {
  const std::vector<std::string> a(argv + 1, argv + argc);
  if (a.size() == 5 && a[0] == "logprobs" && (a[2] == "f32" || a[2] == "bf16"))
    return puyu::logprobs(a[1], a[2], a[3], a[4]);
  if (a.size() == 4 && a[0] == "step") return puyu::step(a[1], a[2], a[3]);
  return std::fputs("usage: interop_probe logprobs MODEL f32|bf16 IDS OUT | step MODEL IDS OUT\n", stderr), 2;
} catch (const puyu::Error& e) { return std::fprintf(stderr, "%s\n", e.what()), 1; }
