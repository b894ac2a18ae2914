// The bytes of HTTP answers: their heads, and server-sent events as chunks.
#pragma once
#include <string>

#include "serve/http.h"

namespace puyu {

std::string reply_head(const HttpReply& r, bool keep_alive, const HttpOptions& o);
std::string stream_head(bool chunked, bool keep_alive, const HttpOptions& o);
std::string event_bytes(const std::string& data, const std::string& title, bool chunked);

}  // namespace puyu
