// Block lists and personal data at the sizes of the report: 13 million sites, 36,289 words.
#include <benchmark/benchmark.h>

#include <fstream>

#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/domain_list.h"
#include "data/pii.h"
#include "data/word_list.h"

namespace puyu {
namespace {

std::string host(uint64_t i) {
  return cat(hex64(mix64(i)).substr(0, 11), ".site", i % 997, i % 3 ? ".com" : ".example.cn");
}

void domain_look_up(benchmark::State& state) {
  static test::TempDir dir;
  static const DomainList list = [&] {
    std::ofstream out(dir.path + "/l.txt");
    for (uint64_t i = 0; i < 13'000'000; ++i) out << host(i * 2) << '\n';
    out.close();
    build_domain_list({dir.path + "/l.txt"}, dir.path + "/d.bin");
    return DomainList(dir.path + "/d.bin");
  }();
  std::vector<std::string> urls;
  for (uint64_t i = 0; i < 100000; ++i)
    urls.push_back("https://www." + host(mix64(i) % 26'000'000) + "/page/" + std::to_string(i));
  size_t at = 0, hits = 0;
  for (auto _ : state) hits += list.find(urls[at]) != nullptr, at = (at + 1) % urls.size();
  state.counters["entries"] = static_cast<double>(list.entries());
  state.counters["file_MB"] = static_cast<double>(read_file(dir.path + "/d.bin").size()) / 1e6;
  state.counters["hit_share"] = static_cast<double>(hits) / static_cast<double>(state.iterations());
}
BENCHMARK(domain_look_up);

std::string prose(bool chinese) {
  Rng rng(1);
  std::string out;
  while (out.size() < (1 << 20)) {
    if (chinese) {
      for (int k = 0; k < 12; ++k) {
        uint64_t c = 0x4e00 + static_cast<uint64_t>(3000 * rng.uniform() * rng.uniform());
        out += static_cast<char>(0xe0 | c >> 12), out += static_cast<char>(0x80 | (c >> 6 & 63)),
            out += static_cast<char>(0x80 | (c & 63));
      }
      out += "，";
    } else {
      for (uint64_t k = 0, n = 2 + rng.below(7); k < n; ++k)
        out += "etaoinshrdlucmfwypvbgkqjxz"[static_cast<size_t>(26 * rng.uniform() * rng.uniform())];
      out += rng.below(12) ? " " : ".\n";
    }
  }
  return out;
}

void words(benchmark::State& state) {
  WordList list;
  Rng rng(2);
  std::string file;
  for (int w = 0; w < 36289; ++w) {
    std::string word;
    for (uint64_t k = 0, n = 2 + rng.below(3); k < n; ++k) {
      uint64_t c = 0x4e00 + rng.below(3000);
      word += static_cast<char>(0xe0 | c >> 12), word += static_cast<char>(0x80 | (c >> 6 & 63)),
          word += static_cast<char>(0x80 | (c & 63));
    }
    if (w % 3 == 0) {
      word.clear();
      for (uint64_t k = 0, n = 4 + rng.below(8); k < n; ++k) word += static_cast<char>('a' + rng.below(26));
    }
    file += word + "\n";
  }
  list.add(file, "bench"), list.build();
  std::string text = prose(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(list.score(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["words"] = static_cast<double>(list.size());
  state.counters["memory_MB"] = static_cast<double>(list.memory()) / 1e6;
}
BENCHMARK(words)->ArgName("chinese")->Arg(0)->Arg(1);

void pii(benchmark::State& state) {
  std::string text = prose(state.range(0));
  for (size_t at = 500; at + 40 < text.size(); at += 2000)
    text.replace(text.find(' ', at) % text.size(), 1, " me@example.org, 13812345678 ");
  for (auto _ : state) benchmark::DoNotOptimize(find_pii(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(pii)->ArgName("chinese")->Arg(0);

}  // namespace
}  // namespace puyu
