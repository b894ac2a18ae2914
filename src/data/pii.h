// Personal data in text, found by form and check digits, and masked so that it can be put back: each value becomes a
// tag like "[EMAIL_1]" (the same value the same tag inside a document), and what stood there goes to a key that is kept
// apart from the text.
//   email      name@host.tld
//   phone      Chinese mobiles (11 digits, +86 or not), Chinese land lines, numbers with a country's +, North American
//   ones cn_id      18 characters with a birth date, a province and the check character of GB 11643 card       13 to 19
//   digits with an issuer's prefix and a Luhn check digit ipv4 ipv6  public addresses only; what looks like a version
//   or section number is left alone
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

enum class PiiKind { kEmail, kPhone, kChineseId, kCard, kIpv4, kIpv6 };
constexpr PiiKind kPiiKinds[] = {PiiKind::kEmail, PiiKind::kPhone, PiiKind::kChineseId,
                                 PiiKind::kCard,  PiiKind::kIpv4,  PiiKind::kIpv6};
const char* pii_name(PiiKind k);  // "email"

struct PiiSpan {
  size_t begin = 0, end = 0;
  PiiKind kind = PiiKind::kEmail;
  bool operator==(const PiiSpan&) const = default;
};
// In order, without overlaps.
std::vector<PiiSpan> find_pii(std::string_view text);

struct PiiTag {
  std::string tag, value;
  PiiKind kind = PiiKind::kEmail;
};
// Masks `text` in place. Tags that the text holds already are passed over, so restore_pii(mask_pii(t)) == t always.
std::vector<PiiTag> mask_pii(std::string& text, const std::vector<PiiKind>& kinds);
std::string restore_pii(std::string_view text, const std::vector<PiiTag>& tags);

}  // namespace puyu
