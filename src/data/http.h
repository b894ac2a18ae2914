// The HTTP response inside a WARC record: status, type and the body with its transfer and content codings undone.
// Crawlers often undo codings and leave their headers, so a body that is plainly not coded is taken as it is.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace puyu {

struct HttpResponse {
  int status = 0;
  std::string media_type;  // "text/html", lower case; "" when not stated
  std::string charset;     // as stated, or ""
  std::string body;
  // Not empty: why the body is not there. "bad_http", "bad_chunks", "damaged_content_encoding",
  // "unknown_content_encoding", "too_large" (unpacked).
  std::string problem;
};

HttpResponse parse_http_response(std::string_view block, size_t max_bytes);

}  // namespace puyu
