// Errors of the second kind: bad input or a bad environment. An Error's text says what was expected, what was found,
// where (file, line, field) and what to do. Programmer errors are CHECKs (check.h); a per-item failure is a value.
#pragma once
#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace puyu {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
template <class T>
void append(std::string& out, const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    out += v ? "true" : "false";
  } else if constexpr (std::is_same_v<T, char>) {
    out += v;
  } else if constexpr (std::is_arithmetic_v<T>) {
    char buf[32];
    auto r = [&] {
      if constexpr (std::is_floating_point_v<T>)
        return std::to_chars(buf, buf + sizeof buf, v, std::chars_format::general, 6);
      else
        return std::to_chars(buf, buf + sizeof buf, v);
    }();
    out.append(buf, r.ptr);
  } else {
    out += std::string_view(v);
  }
}
}  // namespace detail

// Joins its arguments to one string; numbers in shortest form, floats with 6 significant digits.
template <class... A>
std::string cat(const A&... a) {
  std::string out;
  (detail::append(out, a), ...);
  return out;
}

// throw Error(cat(...)), out of line from the caller's hot path.
template <class... A>
[[noreturn]] __attribute__((noinline, cold)) void fail(const A&... a) {
  throw Error(cat(a...));
}

}  // namespace puyu
