// Command lines. A verb's options are an options struct (base/fields.h): --name=value, --name value, --flag for
// booleans; dashes and underscores are the same. Bad use throws UsageError, which main() turns into exit code 2.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"

namespace puyu {

class UsageError : public Error {
 public:
  using Error::Error;
};

struct Args {
  std::vector<std::string> positional;
  std::vector<std::string> overrides;  // "a.b=value" for keys that `options` does not have (when allowed)
};

// Fills `options`. aliases: {"p", "prompt"} makes -p VALUE mean --prompt=VALUE. With keep_unknown, unknown --a.b=value
// options are returned as overrides (for the verb's TOML config) instead of refused.
Args parse_args(const std::vector<std::string>& argv, const Fields& options,
                const std::map<std::string, std::string>& aliases = {}, bool keep_unknown = false);

// A verb. help: everything after the usage line that --help shows; options are listed by the caller through fields.
struct Verb {
  const char* name;
  const char* usage;                                 // "puyu generate MODEL -p TEXT [options]"
  const char* summary;                               // one line
  int (*run)(const std::vector<std::string>& argv);  // argv without program and verb; returns the exit code
};
// True when argv asks for help; prints usage, summary, text and the options with their defaults to stdout.
bool wants_help(const std::vector<std::string>& argv, const Verb& verb, const std::string& text, const Fields& options);

}  // namespace puyu
