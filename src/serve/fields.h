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
  int retry_after = 0;  // seconds; with 429 and 503
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
std::vector<int32_t> read_ids(const Json& v, const std::string& field);  // a list that is not empty
// The body as an object, or ApiError 400.
Json parse_body(std::string_view body);
// body.model, which is one of these: 400 when it is missing, 404 when there is none of that name.
const std::string& read_model(const Json& body, const std::vector<std::string>& models);

// Whose turn a request takes (engine/fair_queue.h).
struct Turn {
  int priority = 0;  // lower goes first
  std::string user;  // matters where API keys do not tell clients apart
};
// Whether `key` is one of priority and user, which every request may have.
bool read_turn(const std::string& key, const Json& v, Turn& turn);

}  // namespace puyu
