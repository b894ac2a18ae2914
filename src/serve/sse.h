// Server-sent events (WHATWG HTML, "event stream interpretation") as bytes come in. Of an event only its data matters
// here: OpenAI's streams use no other field. The bytes are untrusted, so an event's size is bounded.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace puyu {

class SseParser {
 public:
  explicit SseParser(size_t max_event_bytes = size_t{16} << 20) : max_(max_event_bytes) {}
  // Calls `on_data` with the data of each event that is now whole. Error when one is longer than the bound.
  void push(std::string_view bytes, const std::function<void(const std::string& data)>& on_data);

 private:
  void line(const std::function<void(const std::string& data)>& on_data);

  size_t max_;
  std::string line_, data_;
  bool first_line_ = true;     // a byte order mark may stand before it
  bool after_return_ = false;  // "\r" ended a line: a "\n" right after it belongs to it
  bool has_data_ = false;
};

}  // namespace puyu
