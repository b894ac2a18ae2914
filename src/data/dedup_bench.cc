// Speed of signatures and of duplicate search by bytes of text, one thread.
#include <benchmark/benchmark.h>

#include <string>

#include "base/rng.h"
#include "base/utf8.h"
#include "data/dedup.h"

namespace puyu {
namespace {

// Words of 1 to 9 letters with English frequencies of lengths, or ideographs with a mark every 12; 3000 bytes a text.
std::string sample(bool chinese, uint64_t seed) {
  Rng rng(seed);
  std::string out;
  while (out.size() < 3000) {
    if (chinese) {
      append_utf8(out, static_cast<char32_t>(rng.below(12) ? 0x4e00 + rng.below(5000) : 0xff0c));
      continue;
    }
    for (uint64_t n = 1 + rng.below(5) + rng.below(5); n > 0; --n) out += static_cast<char>('a' + rng.below(26));
    out += rng.below(12) ? " " : ", ";
  }
  return out;
}

void signatures(benchmark::State& state) {
  std::vector<std::string> texts;
  int64_t bytes = 0;
  for (uint64_t i = 0; i < 500; ++i) texts.push_back(sample(state.range(0) != 0, i)), bytes += texts.back().size();
  for (auto _ : state)
    for (const std::string& t : texts) benchmark::DoNotOptimize(minhash(t));
  state.SetBytesProcessed(bytes * static_cast<int64_t>(state.iterations()));
}
BENCHMARK(signatures)->ArgName("zh")->Arg(0)->Arg(1);

void minima(benchmark::State& state) {
  auto variants = minima_variants();
  if (state.range(0) >= static_cast<int64_t>(variants.size())) return state.SkipWithError("not on this machine");
  const MinimaVariant v = variants[static_cast<size_t>(state.range(0))];
  state.SetLabel(v.name);
  std::vector<uint32_t> a(kPermutations, 3), b(kPermutations, 5), x(512, 7), out(kPermutations, ~0u);
  for (auto _ : state) {
    v.run(a.data(), b.data(), x.data(), x.size(), out.data());
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(512 * static_cast<int64_t>(state.iterations()));
}
BENCHMARK(minima)->Arg(0)->Arg(1)->Arg(2);

}  // namespace
}  // namespace puyu
BENCHMARK_MAIN();
