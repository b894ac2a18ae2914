// Stands in for toml.cc where toml++ is not installed.
#include "base/config.h"
#include "base/error.h"

namespace puyu {
void read_toml(const Fields&, const std::string&, const std::string& where) {
  fail("[config] ", where, ": this build has no TOML reader; install libtomlplusplus-dev and build again");
}
}  // namespace puyu
