// A small strict JSON value: requests, manifests, safetensors headers, metrics lines. Parsing is bounded (depth,
// duplicate keys refused, numbers checked) because the bytes may be hostile; errors give the byte offset.
// Our own so that the computing half builds with no library (docs/adr/0002). Bulk JSONL is read with simdjson (data/).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace puyu {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // keeps the order of keys

  Json() = default;  // null
  Json(bool v) : v_(v) {}
  Json(double v) : v_(v) {}
  Json(float v) : v_(static_cast<double>(v)) {}
  Json(int v) : v_(static_cast<int64_t>(v)) {}
  Json(long v) : v_(static_cast<int64_t>(v)) {}
  Json(long long v) : v_(static_cast<int64_t>(v)) {}
  Json(unsigned v) : v_(static_cast<int64_t>(v)) {}
  Json(unsigned long v) : v_(static_cast<int64_t>(v)) {}
  Json(const char* v) : v_(std::string(v)) {}
  Json(std::string_view v) : v_(std::string(v)) {}
  Json(std::string v) : v_(std::move(v)) {}
  Json(Array v) : v_(std::move(v)) {}
  Json(Object v) : v_(std::move(v)) {}
  static Json array() { return Json(Array{}); }
  static Json object() { return Json(Object{}); }

  // Throws Error("[json] WHERE: byte N: expected ...").
  static Json parse(std::string_view text, std::string_view where = "input");
  // One line; non-ASCII stays UTF-8; invalid UTF-8 becomes U+FFFD; NaN and infinities become null.
  std::string dump(int indent = 0) const;

  bool is_null() const { return v_.index() == 0; }
  bool is_bool() const { return std::holds_alternative<bool>(v_); }
  bool is_int() const { return std::holds_alternative<int64_t>(v_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(v_); }
  bool is_string() const { return std::holds_alternative<std::string>(v_); }
  bool is_array() const { return std::holds_alternative<Array>(v_); }
  bool is_object() const { return std::holds_alternative<Object>(v_); }
  const char* type_name() const;

  // Typed access: throws Error naming the expected and the found type.
  bool as_bool() const;
  int64_t as_int() const;  // a double with an integral value also passes
  double as_double() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;

  const Json* find(std::string_view key) const;  // null when absent or not an object
  const Json& at(std::string_view key) const;    // Error names the missing key
  Json& operator[](std::string_view key);        // object: inserts; null becomes an object
  void push(Json v);                             // array: appends; null becomes an array
  size_t size() const;
  template <class T>
  T get(std::string_view key, T fallback) const;  // absent or null -> fallback

  bool operator==(const Json&) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> v_;
};

template <>
bool Json::get(std::string_view, bool) const;
template <>
int64_t Json::get(std::string_view, int64_t) const;
template <>
int Json::get(std::string_view, int) const;
template <>
double Json::get(std::string_view, double) const;
template <>
std::string Json::get(std::string_view, std::string) const;

}  // namespace puyu
