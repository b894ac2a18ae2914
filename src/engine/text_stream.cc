#include "engine/text_stream.h"

#include <algorithm>
#include <utility>

namespace puyu {
namespace {

// Length of the longest suffix of `text` that `stop` begins with.
size_t overlap(const std::string& text, const std::string& stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n)
    if (text.compare(text.size() - n, n, stop, 0, n) == 0) return n;
  return 0;
}

}  // namespace

std::string TextStream::take() {
  size_t end = std::string::npos, keep = 0;
  for (const std::string& s : stops_) {
    if (const size_t at = held_.find(s); at < end) end = at, stop_text_ = s;
    keep = std::max(keep, overlap(held_, s));
  }
  stopped_ = end != std::string::npos;
  std::string out = held_.substr(0, stopped_ ? end : held_.size() - keep);
  held_.erase(0, stopped_ ? held_.size() : out.size());
  return out;
}

std::string TextStream::push(int32_t id, bool may_stop) {
  if (stopped_) return "";
  held_ += decoder_.push(id);
  if (!may_stop) return std::exchange(held_, {});
  return take();
}

std::string TextStream::finish() {
  if (stopped_) return "";
  held_ += decoder_.finish();
  return take() + std::exchange(held_, {});
}

}  // namespace puyu
