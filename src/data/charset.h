// Bytes of unknown origin to UTF-8. The charset is that of a byte order mark, of the HTTP header, of the page's own
// <meta>, in this order; a declaration that the bytes contradict is not believed and the charset is guessed (ICU).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace puyu {

struct DecodedText {
  std::string text;          // UTF-8, what cannot be decoded U+FFFD; plain text that was UTF-8 already, as it was
  int64_t replaced = 0;      // characters that could not be decoded
  std::string charset;       // the one used, by ICU's name; "" when there is no text to decode
  bool guessed = false;      // nothing was declared, and it is not UTF-8
  bool misdeclared = false;  // declared as one charset, decoded as another
};

// `declared` is the charset of a header outside the text, or "". `html`: look for <meta charset> in the first KiB.
DecodedText decode_text(std::string_view bytes, std::string_view declared, bool html);

}  // namespace puyu
