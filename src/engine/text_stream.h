// From ids to text that may be shown: whole characters only, and nothing that might turn out to be a stop text, which
// may span tokens. The stop text itself is not part of the answer.
#pragma once
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace puyu {

class TextStream {
 public:
  // continues: the text goes on another one (StreamDecoder).
  TextStream(Tokenizer tokenizer, std::vector<std::string> stops, bool continues = false)
      : decoder_(std::move(tokenizer), continues), stops_(std::move(stops)) {}
  // What can be shown now; nothing after a stop text. Without may_stop (min_tokens) texts up to here end nothing.
  std::string push(int32_t id, bool may_stop = true);
  std::string finish();  // what was held back
  bool stopped() const { return stopped_; }
  const std::string& stop_text() const { return stop_text_; }  // which one it was; of several the first in the text

 private:
  std::string take();
  StreamDecoder decoder_;
  std::vector<std::string> stops_;
  std::string held_;  // decoded, not shown
  std::string stop_text_;
  bool stopped_ = false;
};

}  // namespace puyu
