// Runs a fuzz target without libFuzzer: over its seeds, then over random mutations of them for some seconds.
//   fuzz_json 2             the default, two seconds        fuzz_json FILE…    these inputs (a crash found before)
// An input that crashes is written to crash-input in the current folder.
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "base/file.h"
#include "base/rng.h"
#include "fuzz.h"

namespace {

const std::string* g_input = nullptr;

void on_crash(int sig) {
  int fd = ::open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && g_input) [[maybe_unused]]
    auto n = ::write(fd, g_input->data(), g_input->size());
  std::signal(sig, SIG_DFL);
  std::raise(sig);
}

void run(const std::string& input) {
  g_input = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

std::string mutate(puyu::Rng& rng, const std::vector<std::string>& seeds) {
  std::string s = seeds[rng.below(seeds.size())];
  auto place = [&] { return rng.below(s.size() + 1); };
  for (uint64_t n = 1 + rng.below(4); n > 0; --n) {
    const size_t at = place(), length = std::min<size_t>(rng.below(16), s.size() - at);
    const std::string& other = seeds[rng.below(seeds.size())];
    const size_t from = rng.below(other.size() + 1);
    switch (rng.below(7)) {
      case 0:
        if (at < s.size()) s[at] = static_cast<char>(rng.below(256));
        break;
      case 1:
        if (at < s.size()) s[at] = static_cast<char>(s[at] ^ (1 << rng.below(8)));
        break;
      case 2:
        s.erase(at, length);
        break;
      case 3:
        s.insert(at, std::string(s, at, length));
        break;
      case 4:
        s.insert(at, other.substr(from, rng.below(64)));
        break;
      case 5:
        s.resize(at);
        break;
      default:  // edges of integers, in text and in bytes
        static const std::string kEdges[] = {"-1",
                                             "9223372036854775807",
                                             "1e309",
                                             "\xFF\xFF\xFF\xFF",
                                             std::string(8, '\xFF'),
                                             std::string(4, '\0'),
                                             "\x7F\xFF",
                                             "[[[["};
        s.insert(at, kEdges[rng.below(std::size(kEdges))]);
    }
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  for (int sig : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(sig, on_crash);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  if (argc > 1 && seconds <= 0) {
    for (int i = 1; i < argc; ++i) run(puyu::read_file(argv[i]));
    return 0;
  }
  const std::vector<std::string> seeds = fuzz_seeds();
  for (const auto& s : seeds) run(s);
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  puyu::Rng rng(1);
  int64_t rounds = 0;
  for (; Clock::now() < end; ++rounds) run(mutate(rng, seeds));
  std::printf("%ld mutations of %zu seeds\n", static_cast<long>(rounds), seeds.size());
}
