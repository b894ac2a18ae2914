#include "text/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace puyu {
namespace {

bool is_removed(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfeff || c == 0x200b || (c >= 0x202a && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || (c & 0xfffe) == 0xfffe;
}

// The length of a terminal control sequence "ESC [ ... letter" at s[i], or 1 for a lone escape.
size_t escape_length(std::string_view s, size_t i) {
  if (i + 1 >= s.size() || s[i + 1] != '[') return 1;
  size_t j = i + 2;
  while (j < s.size() && s[j] >= 0x20 && s[j] < 0x40) ++j;
  return (j < s.size() ? j + 1 : j) - i;
}

// Collects lines: trims their ends, limits blank lines.
struct LineWriter {
  std::string out;
  TextChanges& changes;
  size_t line_start = 0;
  int blank = 0;

  void end_line() {
    size_t end = out.size();
    while (end > line_start && (out[end - 1] == ' ' || out[end - 1] == '\t')) --end;
    changes.spaces += end < out.size();
    out.resize(end);
    blank = end == line_start ? blank + 1 : 0;
    if (blank > 2 || out.empty())
      ++changes.spaces;
    else
      out += '\n';
    line_start = out.size();
  }
  std::string take() {
    end_line();
    while (!out.empty() && out.back() == '\n') out.pop_back();
    return std::move(out);
  }
};

// ICU's general categories (UCharCategory), of the first plane from a table.
int category_of(char32_t c) {
  static const std::vector<uint8_t> kTable = [] {
    std::vector<uint8_t> out(0x10000);
    for (char32_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(u_charType(static_cast<UChar32>(i)));
    return out;
  }();
  return c < kTable.size() ? kTable[c] : u_charType(static_cast<UChar32>(c));
}

const icu::Normalizer2& nfc() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* n = icu::Normalizer2::getNFCInstance(status);
  CHECK(U_SUCCESS(status), "ICU has no NFC data");
  return *n;
}

std::string compose(std::string text, TextChanges& changes) {
  icu::StringPiece piece(text.data(), static_cast<int32_t>(text.size()));
  UErrorCode status = U_ZERO_ERROR;
  if (nfc().isNormalizedUTF8(piece, status) && U_SUCCESS(status)) return text;
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  status = U_ZERO_ERROR;
  nfc().normalizeUTF8(0, piece, sink, nullptr, status);
  CHECK(U_SUCCESS(status), "ICU cannot normalise valid UTF-8");
  ++changes.nfc;
  return out;
}

}  // namespace

std::string normalize_text(std::string_view s, TextChanges& changes) {
  LineWriter w{{}, changes};
  w.out.reserve(s.size());
  bool may_compose = false;  // NFC leaves everything below U+0300 alone
  for (size_t i = 0; i < s.size();) {
    char b = s[i];
    if (b >= 0x20 && b < 0x7f) {
      w.out += b, ++i;
    } else if (b == '\n') {
      w.end_line(), ++i;
    } else if (b == '\t') {
      w.out += b, ++i;
    } else if (b == '\r') {
      ++changes.newlines;
      i += i + 1 < s.size() && s[i + 1] == '\n' ? 2 : 1;
      w.end_line();
    } else if (b == 0x1b) {
      ++changes.control;
      i += escape_length(s, i);
    } else {
      char32_t c = 0;
      size_t n = decode_utf8(s, i, c);
      if (n == 0) {
        ++changes.invalid_utf8;
        append_utf8(w.out, 0xfffd);
        may_compose = true, ++i;
        while (i < s.size() && (s[i] & 0xc0) == 0x80) ++i;
        continue;
      }
      if (is_removed(c)) {
        ++changes.control;
      } else if (c == 0xa0) {
        ++changes.spaces;
        w.out += ' ';
      } else {
        w.out.append(s, i, n);
        may_compose |= c >= 0x300;
      }
      i += n;
    }
  }
  std::string out = w.take();
  return may_compose ? compose(std::move(out), changes) : out;
}

uint32_t unicode_category(char32_t c) { return uint32_t{1} << category_of(c); }

uint32_t category_bits(std::string_view name) {
  static const std::map<std::string_view, uint32_t> kNames = {
      {"L", U_GC_L_MASK},   {"Lu", U_GC_LU_MASK}, {"Ll", U_GC_LL_MASK}, {"Lt", U_GC_LT_MASK}, {"Lm", U_GC_LM_MASK},
      {"Lo", U_GC_LO_MASK}, {"M", U_GC_M_MASK},   {"Mn", U_GC_MN_MASK}, {"Mc", U_GC_MC_MASK}, {"Me", U_GC_ME_MASK},
      {"N", U_GC_N_MASK},   {"Nd", U_GC_ND_MASK}, {"Nl", U_GC_NL_MASK}, {"No", U_GC_NO_MASK}, {"P", U_GC_P_MASK},
      {"Pc", U_GC_PC_MASK}, {"Pd", U_GC_PD_MASK}, {"Ps", U_GC_PS_MASK}, {"Pe", U_GC_PE_MASK}, {"Pi", U_GC_PI_MASK},
      {"Pf", U_GC_PF_MASK}, {"Po", U_GC_PO_MASK}, {"S", U_GC_S_MASK},   {"Sm", U_GC_SM_MASK}, {"Sc", U_GC_SC_MASK},
      {"Sk", U_GC_SK_MASK}, {"So", U_GC_SO_MASK}, {"Z", U_GC_Z_MASK},   {"Zs", U_GC_ZS_MASK}, {"Zl", U_GC_ZL_MASK},
      {"Zp", U_GC_ZP_MASK}, {"C", U_GC_C_MASK},   {"Cc", U_GC_CC_MASK}, {"Cf", U_GC_CF_MASK}, {"Cn", U_GC_CN_MASK},
      {"Co", U_GC_CO_MASK}, {"Cs", U_GC_CS_MASK}};
  const auto it = kNames.find(name);
  return it == kNames.end() ? 0 : it->second;
}
bool is_white_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); }
char32_t fold_case(char32_t c) {
  return static_cast<char32_t>(u_foldCase(static_cast<UChar32>(c), U_FOLD_CASE_DEFAULT));
}
char32_t upper_case(char32_t c) { return static_cast<char32_t>(u_toupper(static_cast<UChar32>(c))); }

std::string normalize_nfc(std::string_view text) {
  std::string out;
  TextChanges changes;
  while (!text.empty()) {
    const size_t valid = first_invalid_utf8(text);
    out += compose(std::string(text.substr(0, valid)), changes);
    if (valid < text.size()) out += text[valid];
    text.remove_prefix(std::min(valid + 1, text.size()));
  }
  return out;
}

bool is_han(char32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0xf900 && c <= 0xfaff) ||
         (c >= 0x20000 && c <= 0x323af) || c == 0x3007;
}
bool is_kana(char32_t c) { return (c >= 0x3041 && c <= 0x30fa) || (c >= 0x31f0 && c <= 0x31ff); }
bool is_hangul(char32_t c) { return (c >= 0xac00 && c <= 0xd7a3) || (c >= 0x1100 && c <= 0x11ff); }
bool is_letter(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  return is_han(c) || (unicode_category(c) & U_GC_L_MASK) != 0;
}
bool is_upper(char32_t c) { return c < 0x80 ? c >= 'A' && c <= 'Z' : category_of(c) == U_UPPERCASE_LETTER; }
bool is_digit(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : category_of(c) == U_DECIMAL_DIGIT_NUMBER; }
bool is_numeric(char32_t c) {
  return is_digit(c) || (c >= 0x80 && u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) != U_NT_NONE);
}
bool is_terminal(char32_t c) {
  switch (c) {
    case '.':
    case '!':
    case '?':
    case ':':
    case ';':
    case '"':
    case U'。':
    case U'！':
    case U'？':
    case U'：':
    case U'；':
    case U'”':
    case U'」':
    case U'…':
      return true;
    default:
      return false;
  }
}

}  // namespace puyu
