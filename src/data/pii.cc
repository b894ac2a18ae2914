#include "data/pii.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "data/pii_numbers.h"

namespace puyu {
namespace {

constexpr const char* kNames[] = {"email", "phone", "cn_id", "card", "ipv4", "ipv6"};
constexpr const char* kTags[] = {"EMAIL", "PHONE", "ID", "CARD", "IP", "IP"};

bool is_local_char(char c) { return is_alnum_ascii(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-'; }

// Around the '@' at i: [begin, end) of the address, or an empty span.
PiiSpan email_at(std::string_view s, size_t i, size_t from) {
  size_t begin = i;
  auto apostrophe = [&](size_t k) {
    return s[k] == '\'' && k > from && is_alnum_ascii(s[k - 1]) && is_alnum_ascii(s[k + 1]);
  };
  while (begin > from && i - begin < 64 && (is_local_char(s[begin - 1]) || apostrophe(begin - 1))) --begin;
  while (begin < i && (s[begin] == '.' || s[begin] == '-' || s[begin] == '%' || s[begin] == '+')) ++begin;
  size_t end = i + 1, label = i + 1, last_dot = 0;
  for (; end < s.size() && end - i < 254; ++end) {
    if (s[end] == '.' && end > label) {
      last_dot = end, label = end + 1;
    } else if (!is_alnum_ascii(s[end]) && !(s[end] == '-' && end > label)) {
      break;
    }
  }
  if (end == label && last_dot) {  // a full stop after the address; the label before it is the last one
    end = last_dot;
    last_dot = s.rfind('.', end - 1);
    if (last_dot == std::string_view::npos || last_dot < i) last_dot = 0;
  }
  if (begin == i || !last_dot || s[i - 1] == '.') return {};
  std::string_view top = s.substr(last_dot + 1, end - last_dot - 1);
  bool letters = std::all_of(top.begin(), top.end(), [](char c) { return is_alpha_ascii(c); });
  if (top.size() < 2 || top.size() > 18 || !letters) return {};
  return {begin, end, PiiKind::kEmail};
}

}  // namespace

const char* pii_name(PiiKind k) { return kNames[static_cast<size_t>(k)]; }

std::vector<PiiSpan> find_pii(std::string_view s) {
  std::vector<PiiSpan> out;
  size_t from = 0;  // what lies before is taken
  for (size_t i = 0; i < s.size();) {
    char c = s[i];
    PiiSpan found;
    if (c == '@') {
      found = email_at(s, i, from);
    } else if (is_digit_ascii(c) || c == '+' || c == '(') {
      if (i == from || !is_alnum_ascii(s[i - 1])) found = number_at(s, i);
    } else if (c == ':' && i + 1 < s.size()) {
      found = ipv6_around(s, i, from);
    }
    if (found.end > found.begin) {
      // An address's digits may have been taken for a number: 13812345678@example.com.
      while (!out.empty() && out.back().end > found.begin) out.pop_back();
      out.push_back(found);
      from = i = found.end;
      // The number may be the name of an e-mail address.
      if (found.kind != PiiKind::kEmail && i < s.size() && (is_local_char(s[i]) || s[i] == '@')) {
        size_t at = i;
        while (at < s.size() && is_local_char(s[at])) ++at;
        if (at < s.size() && s[at] == '@')
          if (PiiSpan mail = email_at(s, at, found.begin); mail.end > mail.begin) {
            out.back() = mail;
            from = i = mail.end;
          }
      }
    } else {
      ++i;
    }
  }
  return out;
}

std::vector<PiiTag> mask_pii(std::string& text, const std::vector<PiiKind>& kinds) {
  std::vector<PiiTag> tags;
  if (kinds.empty()) return tags;
  std::vector<PiiSpan> spans = find_pii(text);
  std::erase_if(spans, [&](const PiiSpan& s) { return std::find(kinds.begin(), kinds.end(), s.kind) == kinds.end(); });
  if (spans.empty()) return tags;
  std::map<std::string_view, size_t> known;  // value to its tag
  int next[std::size(kTags)] = {};
  std::string out;
  size_t at = 0;
  for (const PiiSpan& s : spans) {
    auto value = std::string_view(text).substr(s.begin, s.end - s.begin);
    auto [it, is_new] = known.emplace(value, tags.size());
    if (is_new) {
      const char* name = kTags[static_cast<size_t>(s.kind)];
      int& number = next[static_cast<size_t>(std::min(s.kind, PiiKind::kIpv4))];  // both kinds of IP count together
      std::string tag;
      do tag = cat('[', name, '_', ++number, ']');
      while (text.find(tag) != std::string::npos);
      tags.push_back({std::move(tag), std::string(value), s.kind});
    }
    out.append(text, at, s.begin - at);
    out += tags[it->second].tag;
    at = s.end;
  }
  out.append(text, at);
  text = std::move(out);
  return tags;
}

std::string restore_pii(std::string_view text, const std::vector<PiiTag>& tags) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    size_t open = std::min(text.find('[', at), text.size());
    out += text.substr(at, open - at);
    at = open;
    if (at == text.size()) break;
    auto is_here = [&](const PiiTag& t) { return text.substr(at).starts_with(t.tag); };
    auto t = std::find_if(tags.begin(), tags.end(), is_here);
    if (t == tags.end()) {
      out += text[at++];
    } else {
      out += t->value;
      at += t->tag.size();
    }
  }
  return out;
}

}  // namespace puyu
