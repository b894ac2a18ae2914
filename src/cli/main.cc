// puyu: one program, one verb a task. Exit codes: 0 done, 1 failed, 2 bad use.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/signal.h"
#include "cli/verbs.h"

namespace puyu {
namespace {

const Verb* const kVerbs[] = {
    &kDataVerb,       //
    &kTokenizerVerb,  //
    &kTrainVerb,      //
    &kFinetuneVerb,   //
    &kRewardVerb,     //
    &kRlhfVerb,       //
    &kGenerateVerb,   //
    &kChatVerb,       //
    &kServeVerb,      //
    &kEvalVerb,       //
    &kBenchVerb,      //
    &kDemoVerb,       //
    &kConvertVerb,    //
    &kQuantizeVerb,   //
    &kPlanVerb,       //
    &kInfoVerb,       //
};

// Verbs of the design that are not built yet (docs/status.md).
constexpr const char* kPlanned[][2] = {{"agent", "tool-using agents"}};

void print_help() {
  std::printf(
      "puyu: the InternLM2 chain in one program: data, tokenizer, training, RLHF, serving, evaluation.\n\nusage: puyu "
      "VERB [...]\n\nverbs:\n");
  for (const Verb* v : kVerbs) std::printf("  %-10s %s\n", v->name, v->summary);
  std::printf("\nnot there yet:\n");
  for (auto& p : kPlanned) std::printf("  %-10s %s\n", p[0], p[1]);
  std::printf("\n'puyu VERB --help' explains a verb. The whole chain on real text: ./quickstart\n");
}

int run_verb(const std::string& name, const std::vector<std::string>& argv) {
  for (const Verb* v : kVerbs)
    if (name == v->name) {
      try {
        int code = v->run(argv);
        if (std::fflush(stdout) != 0 || std::ferror(stdout))
          fail("cannot write to standard output: ", std::strerror(errno));
        return code;
      } catch (const UsageError& e) {
        std::fprintf(stderr, "puyu %s: %s\nusage: %s\n", v->name, e.what(), v->usage);
        return 2;
      }
    }
  for (auto& p : kPlanned)
    if (name == p[0]) {
      std::fprintf(stderr, "puyu %s: %s: not there yet (see docs/status.md)\n", p[0], p[1]);
      return 2;
    }
  std::vector<std::string> known;
  for (const Verb* v : kVerbs) known.emplace_back(v->name);
  std::string near = nearest(name, known);
  std::fprintf(stderr, "puyu: unknown verb '%s'%s%s%s; see 'puyu --help'\n", name.c_str(),
               near.empty() ? "" : ", did you mean '", near.c_str(), near.empty() ? "" : "'?");
  return 2;
}

// libgomp reads its settings before main() runs, so they are set and the program starts once more. By default a waiting
// thread spins for milliseconds; with another busy process on the machine that costs tens of times the work.
void wait_politely(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "10000", 1);
  execv("/proc/self/exe", argv);  // where that fails we run as we are
}

}  // namespace
}  // namespace puyu

int main(int argc, char** argv) {
  puyu::wait_politely(argv);
  std::vector<std::string> args(argv + 1, argv + argc);
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    puyu::print_help();
    return args.empty() ? 2 : 0;
  }
  if (args[0] == "--version") {
    std::printf("puyu %s\n", PUYU_VERSION);
    return 0;
  }
  try {
    puyu::catch_interrupts();
    return puyu::run_verb(args[0], {args.begin() + 1, args.end()});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "puyu %s: %s\n", args[0].c_str(), e.what());
    return 1;
  }
}
