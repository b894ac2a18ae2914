// Lines for people, on stderr: "12:03:44 info  text". stdout belongs to results. Thread-safe, one write per line.
#pragma once
#include <string_view>

#include "base/error.h"

namespace puyu {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
void set_log_level(LogLevel level);
void log_line(LogLevel level, std::string_view text);

template <class... A>
void log_debug(const A&... a) {
  log_line(LogLevel::kDebug, cat(a...));
}
template <class... A>
void log_info(const A&... a) {
  log_line(LogLevel::kInfo, cat(a...));
}
template <class... A>
void log_warn(const A&... a) {
  log_line(LogLevel::kWarn, cat(a...));
}
template <class... A>
void log_error(const A&... a) {
  log_line(LogLevel::kError, cat(a...));
}

}  // namespace puyu
