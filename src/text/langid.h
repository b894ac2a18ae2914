// Which natural language a text is in: CLD2 (as InternLM2's pipeline uses), with rules by script before it, because
// CLD2 gives up on short Chinese and on Chinese that is full of commands and options. Only the first 16 KiB are read.
#pragma once
#include <string>
#include <string_view>

namespace puyu {

struct Language {
  std::string code;    // ISO 639-1 ("en", "zh" for both scripts), or "und" when nothing is certain
  double score = 0.0;  // the share of the text in that language, 0..1
};

Language detect_language(std::string_view text);

}  // namespace puyu
