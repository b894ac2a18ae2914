#include "serve/sse.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace puyu {

void SseParser::push(std::string_view bytes, const std::function<void(const std::string& data)>& on_data) {
  for (char c : bytes) {
    if (std::exchange(after_return_, c == '\r') && c == '\n') continue;
    if (c == '\r' || c == '\n') {
      line(on_data);
      line_.clear();
      continue;
    }
    line_ += c;
    if (line_.size() + data_.size() > max_) fail("[http] an event of the stream is longer than ", max_, " bytes");
  }
}

void SseParser::line(const std::function<void(const std::string& data)>& on_data) {
  std::string_view l = line_;
  if (std::exchange(first_line_, false) && l.starts_with("\xEF\xBB\xBF")) l.remove_prefix(3);
  if (l.empty()) {  // the end of an event
    if (std::exchange(has_data_, false)) on_data(data_);
    data_.clear();
    return;
  }
  const std::string_view name = l.substr(0, l.find(':'));
  if (name != "data") return;  // a comment (no name), or a field that nobody here needs
  std::string_view value = l.substr(std::min(l.size(), name.size() + 1));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (has_data_) data_ += '\n';
  data_ += value;
  has_data_ = true;
}

}  // namespace puyu
