#include "data/han_forms.h"

#include <unicode/translit.h>

#include <bitset>
#include <memory>

#include "base/check.h"

namespace puyu {
namespace {

constexpr char32_t kFirst = 0x4e00, kLast = 0x9fff;  // the block that holds all common characters
using Forms = std::bitset<kLast - kFirst + 1>;

// The characters that the transliterator changes when they stand alone.
Forms changed_by(const char* name) {
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<icu::Transliterator> t(
      icu::Transliterator::createInstance(icu::UnicodeString(name), UTRANS_FORWARD, status));
  CHECK(U_SUCCESS(status) && t, "ICU has no Chinese transliteration");
  Forms out;
  for (char32_t c = kFirst; c <= kLast; ++c) {
    icu::UnicodeString text(static_cast<UChar32>(c));
    t->transliterate(text);
    out[c - kFirst] = text.char32At(0) != static_cast<UChar32>(c);
  }
  return out;
}

bool is_in(const Forms& forms, char32_t c) { return c >= kFirst && c <= kLast && forms[c - kFirst]; }

}  // namespace

bool is_traditional(char32_t c) {
  static const Forms kForms = changed_by("Traditional-Simplified");
  return is_in(kForms, c);
}

bool is_simplified(char32_t c) {
  static const Forms kForms = changed_by("Simplified-Traditional");
  return is_in(kForms, c);
}

}  // namespace puyu
