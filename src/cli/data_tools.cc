#include "cli/data_tools.h"

namespace puyu {
namespace {

constexpr const Verb* kTools[] = {&kDataDomains,    &kDataRestore, &kDataTrainClassifier, &kDataTrainNgram,
                                  &kDataPerplexity, &kDataArpa,    &kDataBenchmarks,      &kDataEnrich,
                                  &kDataCompare,    &kDataReport};
constexpr std::string_view kPrefix = "data ";

}  // namespace

const Verb* find_data_tool(const std::string& name) {
  for (const Verb* v : kTools)
    if (std::string_view(v->name).substr(kPrefix.size()) == name) return v;
  return nullptr;
}

std::string data_tools_help() {
  std::string out;
  for (const Verb* v : kTools) {
    std::string name = cat("puyu ", v->name);
    name.resize(std::max<size_t>(name.size() + 1, 32), ' ');
    out += name + v->summary + "\n";
  }
  return out + "Each explains itself with --help.\n";
}

}  // namespace puyu
