#include "data/charset.h"

#include <unicode/ucnv.h>
#include <unicode/ucsdet.h>

#include <algorithm>
#include <memory>

#include "base/utf8.h"
#include "data/ascii.h"

namespace puyu {
namespace {

constexpr size_t kSample = 65536;       // bytes that the guess looks at
constexpr double kMaxBroken = 0.02;     // of the characters beyond ASCII: more, and a declaration is not believed
constexpr double kStrayBytes = 0.005;   // of a text's bytes
constexpr int32_t kMinConfidence = 10;  // of ICU's guess, in percent

// Names that pages use for something else than they say (WHATWG Encoding Standard, section 4.2).
std::string icu_name(std::string_view label) {
  std::string l = lower_ascii(trim_ascii(label));
  constexpr std::pair<std::string_view, const char*> kNames[] = {{"iso-8859-1", "windows-1252"},
                                                                 {"latin1", "windows-1252"},
                                                                 {"iso8859-1", "windows-1252"},
                                                                 {"us-ascii", "windows-1252"},
                                                                 {"ascii", "windows-1252"},
                                                                 {"iso-8859-9", "windows-1254"},
                                                                 {"gb2312", "gb18030"},
                                                                 {"gbk", "gb18030"},
                                                                 {"x-gbk", "gb18030"},
                                                                 {"gb_2312-80", "gb18030"},
                                                                 {"gb2312-80", "gb18030"},
                                                                 {"big5", "big5-hkscs"},
                                                                 {"big5-hkscs", "big5-hkscs"},
                                                                 {"shift_jis", "windows-31j"},
                                                                 {"sjis", "windows-31j"},
                                                                 {"x-sjis", "windows-31j"},
                                                                 {"euc-kr", "windows-949"},
                                                                 {"ks_c_5601-1987", "windows-949"},
                                                                 {"utf8", "UTF-8"},
                                                                 {"utf-16", "UTF-16LE"},
                                                                 {"unicode", "UTF-16LE"}};
  for (auto& [from, to] : kNames)
    if (l == from) return to;
  return l;
}

struct Converted {
  std::string text;
  size_t broken = 0, beyond_ascii = 0;  // characters
  int64_t replaced = 0;
  bool known = false;  // the charset
  double damage() const { return static_cast<double>(broken) / static_cast<double>(std::max<size_t>(1, beyond_ascii)); }
};

void count(Converted& c) {
  for (size_t i = 0; i < c.text.size();) {
    char32_t ch = static_cast<unsigned char>(c.text[i]);
    i += ch < 0x80 ? 1 : std::max<size_t>(1, decode_utf8(c.text, i, ch));
    c.beyond_ascii += ch >= 0x80;
    c.replaced += ch == 0xfffd;
    c.broken += ch == 0xfffd || (ch >= 0x80 && ch < 0xa0);  // C1 controls: no text holds them
  }
}

Converted convert(std::string_view bytes, const std::string& charset) {
  Converted out;
  if (lower_ascii(charset) == "utf-8") {
    out.known = true;
    out.text = repair_utf8(bytes);
    count(out);
    return out;
  }
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<UConverter, decltype(&ucnv_close)> from(ucnv_open(charset.c_str(), &status), ucnv_close);
  std::unique_ptr<UConverter, decltype(&ucnv_close)> to(ucnv_open("UTF-8", &status), ucnv_close);
  if (U_FAILURE(status)) return out;
  out.known = true;
  constexpr size_t kPivot = 4096;
  std::unique_ptr<UChar[]> pivot(new UChar[kPivot]);
  UChar *pivot_from = pivot.get(), *pivot_to = pivot.get();
  const char *at = bytes.data(), *end = at + bytes.size();
  char piece[8192];
  bool first = true;
  do {
    char* write = piece;
    status = U_ZERO_ERROR;
    ucnv_convertEx(to.get(), from.get(), &write, piece + sizeof piece, &at, end, pivot.get(), &pivot_from, &pivot_to,
                   pivot.get() + kPivot, first, true, &status);
    first = false;
    out.text.append(piece, static_cast<size_t>(write - piece));
  } while (status == U_BUFFER_OVERFLOW_ERROR);
  count(out);
  return out;
}

std::string charset_of_mark(std::string_view b, size_t& length) {
  length = 3;
  if (b.starts_with("\xef\xbb\xbf")) return "UTF-8";
  length = 2;
  if (b.starts_with("\xff\xfe")) return "UTF-16LE";
  if (b.starts_with("\xfe\xff")) return "UTF-16BE";
  length = 0;
  return "";
}

// <meta charset=X> or <meta … content="text/html; charset=X"> in the first bytes of a page.
std::string charset_of_meta(std::string_view bytes) {
  std::string head = lower_ascii(bytes.substr(0, 4096));
  for (size_t at = head.find("<meta"); at != std::string::npos; at = head.find("<meta", at + 5)) {
    size_t end = std::min(head.find('>', at), head.size()), key = head.find("charset", at);
    if (key > end) continue;
    size_t from = head.find_first_not_of(" \t\r\n=\"'", key + 7);
    if (from >= end) continue;
    return head.substr(from, std::min(head.find_first_of(" \t\r\n;\"'/>", from), end) - from);
  }
  return "";
}

std::string guess(std::string_view bytes, bool html) {
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<UCharsetDetector, decltype(&ucsdet_close)> detector(ucsdet_open(&status), ucsdet_close);
  ucsdet_enableInputFilter(detector.get(), html);
  bytes = bytes.substr(0, kSample);
  ucsdet_setText(detector.get(), bytes.data(), static_cast<int32_t>(bytes.size()), &status);
  const UCharsetMatch* match = ucsdet_detect(detector.get(), &status);
  if (U_FAILURE(status) || !match || ucsdet_getConfidence(match, &status) < kMinConfidence) return "";
  return icu_name(ucsdet_getName(match, &status));
}

bool has_multibyte(std::string_view s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return c < 0; });
}

}  // namespace

DecodedText decode_text(std::string_view bytes, std::string_view declared, bool html) {
  DecodedText out;
  if (bytes.empty()) return out;
  size_t mark = 0;
  out.charset = charset_of_mark(bytes, mark);
  if (mark) {
    Converted c = convert(bytes.substr(mark), out.charset);
    out.text = std::move(c.text), out.replaced = c.replaced;
    return out;
  }
  std::string stated = icu_name(declared.empty() && html ? charset_of_meta(bytes) : std::string(declared));
  // A page that could read its own <meta> as ASCII is not in UTF-16, whatever it says.
  if (declared.empty() && stated.starts_with("UTF-16")) stated = "UTF-8";
  bool stateful = stated.starts_with("utf-16") || stated.starts_with("UTF-16") || stated.starts_with("iso-2022");
  if (!stateful && valid_utf8(bytes)) {  // text in another charset is hardly ever valid UTF-8
    out.charset = "UTF-8", out.text = bytes;
    out.misdeclared = !stated.empty() && lower_ascii(stated) != "utf-8" && has_multibyte(bytes);
    return out;
  }
  const bool declared_somewhere = !stated.empty();
  Converted best;
  if (!stated.empty()) {
    best = convert(bytes, stated);
  } else if (!html) {  // a few stray bytes are damage, many are another charset
    best = convert(bytes, stated = "UTF-8");
    best.beyond_ascii = static_cast<size_t>(static_cast<double>(bytes.size()) * kStrayBytes / kMaxBroken);
  }
  out.charset = stated;
  if (!best.known || best.damage() > kMaxBroken) {
    std::string other = guess(bytes, html);
    Converted second = other.empty() || other == stated ? Converted{} : convert(bytes, other);
    if (second.known && (!best.known || second.damage() < best.damage())) {
      out.guessed = !declared_somewhere, out.misdeclared = declared_somewhere;
      out.charset = other, best = std::move(second);
    }
  }
  if (!best.known) {  // nothing stated, nothing guessed
    out.charset = "UTF-8", out.guessed = true;
    best = convert(bytes, out.charset);
  }
  bool as_it_is = !html && out.charset == "UTF-8" && !out.misdeclared;  // normalize_text repairs and counts
  out.text = as_it_is ? std::string(bytes) : std::move(best.text);
  out.replaced = as_it_is ? 0 : best.replaced;
  return out;
}

}  // namespace puyu
