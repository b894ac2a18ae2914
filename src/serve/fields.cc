#include "serve/fields.h"

#include <algorithm>

namespace puyu {

void refuse(const std::string& field, const std::string& why) {
  throw ApiError(400, cat("'", field, "': ", why), field);
}

double number(const Json& v, const std::string& field, double low, double high) {
  if (!v.is_number()) refuse(field, cat("expected a number, got ", v.type_name()));
  const double x = v.as_double();
  if (!(x >= low && x <= high)) refuse(field, cat("expected ", low, " to ", high, ", got ", x));
  return x;
}
int64_t integer(const Json& v, const std::string& field, int64_t low, int64_t high) {
  if (!v.is_int()) refuse(field, cat("expected an integer, got ", v.is_number() ? "a fraction" : v.type_name()));
  if (v.as_int() < low || v.as_int() > high) refuse(field, cat("expected ", low, " to ", high, ", got ", v.as_int()));
  return v.as_int();
}
bool boolean(const Json& v, const std::string& field) {
  if (!v.is_bool()) refuse(field, cat("expected true or false, got ", v.type_name()));
  return v.as_bool();
}
const std::string& text(const Json& v, const std::string& field) {
  if (!v.is_string()) refuse(field, cat("expected a string, got ", v.type_name()));
  return v.as_string();
}

void check_object(const Json& v, const std::string& field) {
  if (!v.is_object()) refuse(field, cat("expected an object, got ", v.type_name()));
}
const Json& member(const Json& v, const char* key, const std::string& field) {
  check_object(v, field);
  const Json* m = v.find(key);
  if (!m) refuse(field + "." + key, "missing");
  return *m;
}

void only(const Json& v, const std::vector<const char*>& keys, const std::string& field) {
  for (const auto& [key, value] : v.as_object())
    if (!value.is_null() && std::find(keys.begin(), keys.end(), key) == keys.end())
      refuse(field + "." + key, "this server does not know this field");
}

Json parse_body(std::string_view body) {
  Json j;
  try {
    j = Json::parse(body, "body");
  } catch (const Error& e) { throw ApiError(400, e.what()); }
  if (!j.is_object()) throw ApiError(400, cat("expected a JSON object, got ", j.type_name()));
  return j;
}

}  // namespace puyu
