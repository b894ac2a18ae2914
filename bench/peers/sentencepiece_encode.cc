// Encoding speed of puyu and of SentencePiece on the same texts, in one run and in turn, one thread.
//   peer_sentencepiece_encode MODEL FILE...        medians of 5 rounds, MB/s of thread CPU time; texts of about 4 kB
#include <sentencepiece_processor.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

namespace {

constexpr int kRounds = 5;
constexpr size_t kTextBytes = 4096;

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class F>
double seconds_of(const std::vector<std::string_view>& texts, F&& encode) {
  double start = cpu_seconds();
  for (std::string_view text : texts) encode(text);
  return cpu_seconds() - start;
}

void compare(const puyu::Tokenizer& ours, const sentencepiece::SentencePieceProcessor& theirs,
             const std::string& path) {
  const std::string all = puyu::read_file(path);
  std::vector<std::string_view> texts;
  for (std::string_view rest = all; !rest.empty(); rest.remove_prefix(texts.back().size()))
    texts.push_back(puyu::utf8_prefix(rest, kTextBytes));
  size_t our_tokens = 0, their_tokens = 0;
  std::array<double, kRounds> our_speed{}, their_speed{};
  for (int round = 0; round < kRounds; ++round) {
    our_tokens = their_tokens = 0;
    const double mb = static_cast<double>(all.size()) * 1e-6;
    our_speed[round] = mb / seconds_of(texts, [&](std::string_view t) { our_tokens += ours.encode(t).size(); });
    their_speed[round] = mb / seconds_of(texts, [&](std::string_view t) {
                           std::vector<int> ids;
                           if (!theirs.Encode(t, &ids).ok()) puyu::fail("[bench] SentencePiece failed on ", path);
                           their_tokens += ids.size();
                         });
  }
  if (our_tokens != their_tokens)
    puyu::fail("[bench] ", path, ": ", our_tokens, " tokens, SentencePiece ", their_tokens);
  std::ranges::sort(our_speed);
  std::ranges::sort(their_speed);
  const double a = our_speed[kRounds / 2], b = their_speed[kRounds / 2];
  std::printf("%-28s %6.2f MB  %5.2f B/token  puyu %6.1f (%.1f-%.1f)  SentencePiece %5.1f (%.1f-%.1f) MB/s  %5.1f x\n",
              path.substr(path.rfind('/') + 1).c_str(), static_cast<double>(all.size()) * 1e-6,
              static_cast<double>(all.size()) / static_cast<double>(our_tokens), a, our_speed.front(), our_speed.back(),
              b, their_speed.front(), their_speed.back(), a / b);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) return std::fprintf(stderr, "usage: %s MODEL FILE...\n", argv[0]), 2;
  sentencepiece::SentencePieceProcessor theirs;
  if (!theirs.Load(argv[1]).ok()) puyu::fail("[bench] SentencePiece cannot load ", argv[1]);
  const puyu::Tokenizer ours = puyu::Tokenizer::load(argv[1]);
  for (int i = 2; i < argc; ++i) compare(ours, theirs, argv[i]);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
