// puyu data domains, puyu data restore.
#include <cstdio>

#include "cli/data_tools.h"
#include "data/domain_list.h"
#include "data/safety.h"

namespace puyu {
namespace {

struct DomainOptions {
  std::string out, look_up;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("out", out, "the list to write");
    f("look_up", look_up, "an address to look up in a list made before");
    f("json", json, "print JSON");
  }
};

int run_domains(const std::vector<std::string>& argv) {
  DomainOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "puyu data domains LIST... --out FILE           lists of web sites to one compact list for safe.domains\n"
      "puyu data domains FILE --look-up=URL           whether FILE blocks an address, and by which category\n\n"
      "A list has a host, an address with a path, or a line of a hosts file a line; folders are read file by file. "
      "The\n"
      "category of an entry is the name of its file, or of its folder when the file is called domains or urls.\n";
  if (wants_help(argv, kDataDomains, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  std::vector<std::string> lists(a.positional.begin() + 1, a.positional.end());
  if (o.out.empty() == o.look_up.empty() || lists.empty())
    throw UsageError("expected LIST... and --out, or FILE and --look-up");
  if (!o.look_up.empty()) {
    DomainList list(lists[0]);
    const std::string* category = list.find(o.look_up);
    if (o.json)
      std::printf(
          "%s\n",
          Json(Json::Object{{"blocked", category != nullptr}, {"category", category ? *category : ""}}).dump().c_str());
    else
      std::printf("%s\n", category ? ("blocked by " + *category).c_str() : "not blocked");
    return 0;
  }
  DomainCounts c = build_domain_list(lists, o.out);
  Json j = Json::Object{{"entries", c.entries}, {"duplicates", c.duplicates}, {"bad_lines", c.bad_lines}};
  if (o.json)
    std::printf("%s\n", j.dump().c_str());
  else
    std::printf("%lld entries, %lld of them twice; %lld lines are no hosts or addresses\n",
                static_cast<long long>(c.entries), static_cast<long long>(c.duplicates),
                static_cast<long long>(c.bad_lines));
  return 0;
}

struct RestoreOptions {
  std::string key, out;
  template <class F>
  void fields(F&& f) {
    f("key", key, "pii-key.jsonl.zst of the run");
    f("out", out, "folder for the restored documents");
  }
};

int run_restore(const std::vector<std::string>& argv) {
  RestoreOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Puts masked personal data back: every tag of the key becomes what stood there before.\n";
  if (wants_help(argv, kDataRestore, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  if (a.positional.size() != 2 || o.key.empty() || o.out.empty())
    throw UsageError("expected DIR, --key FILE and --out DIR");
  int64_t n = restore_corpus(a.positional[1], o.key, o.out);
  std::printf("%lld documents restored\n", static_cast<long long>(n));
  return 0;
}

}  // namespace

const Verb kDataDomains = {"data domains", "puyu data domains LIST... --out FILE | FILE --look-up=URL",
                           "block lists of web sites to one compact list", run_domains};
const Verb kDataRestore = {"data restore", "puyu data restore DIR --key FILE --out DIR2",
                           "put masked personal data back", run_restore};

}  // namespace puyu
