#include "base/check.h"

#include <execinfo.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace puyu::detail {

void check_failed(const char* file, int line, const char* text, const char* why) {
  std::fprintf(stderr, "%s:%d: CHECK(%s) failed%s%s\n", file, line, text, *why ? ": " : "", why);
  void* frames[32];
  backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
  std::abort();
}

}  // namespace puyu::detail
