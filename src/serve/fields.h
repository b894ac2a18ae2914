// Reads fields of request bodies: each of these gives the value or throws ApiError 400 with the field's name.
#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace puyu {

class ApiError : public Error {
 public:
  ApiError(int http_status, const std::string& message, std::string field = "", std::string error_code = "")
      : Error(message), status(http_status), param(std::move(field)), code(std::move(error_code)) {}
  int status;
  std::string param, code;
};

[[noreturn]] void refuse(const std::string& field, const std::string& why);
double number(const Json& v, const std::string& field, double low, double high);
int64_t integer(const Json& v, const std::string& field, int64_t low, int64_t high);
bool boolean(const Json& v, const std::string& field);
const std::string& text(const Json& v, const std::string& field);
void check_object(const Json& v, const std::string& field);
const Json& member(const Json& v, const char* key, const std::string& field);  // of an object
// No other keys than these, but for null.
void only(const Json& v, const std::vector<const char*>& keys, const std::string& field);
// The body as an object, or ApiError 400.
Json parse_body(std::string_view body);

}  // namespace puyu
