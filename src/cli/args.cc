#include "cli/args.h"

#include <algorithm>
#include <cstdio>

namespace puyu {
namespace {

const Field* find_field(const Fields& fields, const std::string& name) {
  for (const Field& f : fields)
    if (f.name == name) return &f;
  return nullptr;
}

}  // namespace

Args parse_args(const std::vector<std::string>& argv, const Fields& options,
                const std::map<std::string, std::string>& aliases, bool keep_unknown) {
  Args out;
  for (size_t i = 0; i < argv.size(); ++i) {
    const std::string& a = argv[i];
    if (a == "--") {
      out.positional.insert(out.positional.end(), argv.begin() + static_cast<long>(i) + 1, argv.end());
      break;
    }
    if (a.size() < 2 || a[0] != '-') {
      out.positional.push_back(a);
      continue;
    }
    std::string name, value;
    bool has_value = false;
    if (a[1] != '-') {
      auto it = aliases.find(a.substr(1));
      if (it == aliases.end()) throw UsageError(cat("unknown option '", a, "'"));
      name = it->second;
    } else {
      size_t eq = a.find('=');
      name = a.substr(2, eq == std::string::npos ? eq : eq - 2);
      if (eq != std::string::npos) value = a.substr(eq + 1), has_value = true;
    }
    std::replace(name.begin(), name.end(), '-', '_');
    const Field* f = find_field(options, name.substr(0, name.find('.')));
    if (!f && !keep_unknown) {
      try {
        unknown_key(options, name, "option");
      } catch (const Error& e) { throw UsageError(e.what()); }
    }
    if (!has_value && f && std::holds_alternative<bool*>(f->value)) value = "true", has_value = true;
    if (!has_value) {
      if (i + 1 >= argv.size()) throw UsageError(cat("option '", a, "' needs a value"));
      value = argv[++i];
    }
    if (!f) {
      out.overrides.push_back(cat(name, "=", value));
      continue;
    }
    try {
      set_field(options, cat(name, "=", value));
    } catch (const Error& e) { throw UsageError(e.what()); }
  }
  return out;
}

bool wants_help(const std::vector<std::string>& argv, const Verb& verb, const std::string& text,
                const Fields& options) {
  if (std::find(argv.begin(), argv.end(), "--help") == argv.end() &&
      std::find(argv.begin(), argv.end(), "-h") == argv.end())
    return false;
  std::string opts = fields_help(options);
  std::printf("%s\n\nusage: %s\n%s%s%s%s", verb.summary, verb.usage, text.empty() ? "" : "\n", text.c_str(),
              opts.empty() ? "" : "\noptions:\n", opts.c_str());
  return true;
}

}  // namespace puyu
