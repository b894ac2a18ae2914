#include "text/langid.h"

#include <cld2/public/compact_lang_det.h>

#include "base/utf8.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr size_t kSample = 16384;

struct ScriptCounts {
  double han = 0, kana = 0, hangul = 0, ascii = 0, other = 0;  // letters
};

ScriptCounts count_scripts(std::string_view s) {
  ScriptCounts n;
  for (size_t i = 0; i < s.size();) {
    char32_t c = 0;
    size_t len = decode_utf8(s, i, c);
    i += len ? len : 1;
    if (!len || !is_letter(c)) continue;
    if (c < 0x80)
      ++n.ascii;
    else if (is_han(c))
      ++n.han;
    else if (is_kana(c))
      ++n.kana;
    else if (is_hangul(c))
      ++n.hangul;
    else
      ++n.other;
  }
  return n;
}

}  // namespace

Language detect_language(std::string_view text) {
  std::string_view sample = utf8_prefix(text, kSample);
  ScriptCounts n = count_scripts(sample);
  // In units of words: an ideograph counts as half of one, a Latin word as five letters.
  double han = n.han / 2, latin = (n.ascii + n.other) / 5, east = n.kana / 2 + n.hangul;
  double words = han + latin + east;
  if (words == 0) return {"und", 0};
  if (han >= 0.3 * words && n.kana < 0.05 * (n.han + n.kana) && n.hangul < 0.05 * n.han)
    return {"zh", (han + east) / words};

  bool reliable = false;
  CLD2::Language best[3];
  int percent[3], bytes = 0;
  CLD2::DetectLanguageSummary(sample.data(), static_cast<int>(sample.size()), true, best, percent, &bytes, &reliable);
  std::string code = CLD2::LanguageCode(best[0]);
  if (code == "un" || percent[0] == 0) return {"und", 0};
  return {code.starts_with("zh") ? "zh" : code, percent[0] / (reliable ? 100.0 : 200.0)};
}

}  // namespace puyu
