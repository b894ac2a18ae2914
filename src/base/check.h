// CHECK(cond) or CHECK(cond, "why"): a programmer error aborts with file, line, text and a stack. Always on.
// Never use it for anything a user's input can cause: that is an Error (error.h).
#pragma once

namespace puyu::detail {
[[noreturn]] void check_failed(const char* file, int line, const char* text, const char* why = "");
}  // namespace puyu::detail

#define CHECK(cond, ...)                                                                  \
  do {                                                                                    \
    if (!(cond)) [[unlikely]]                                                             \
      ::puyu::detail::check_failed(__FILE__, __LINE__, #cond __VA_OPT__(, ) __VA_ARGS__); \
  } while (0)
