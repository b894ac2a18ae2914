#include "grammar/json_rules.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace puyu::grammar {
namespace {

const CodeSet kDigit{{'0', '9'}}, kHex{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
const CodeSet kMustEscape{{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};

}  // namespace

// The rule is noted before it is written, so that it may use itself.
template <class F>
Sequence JsonRules::once(std::optional<int32_t>& rule, const char* name, F&& write) {
  if (!rule) {
    rule = d_.rule(name);
    const int32_t id = *rule;
    for (Sequence& s : write()) d_.alternative(id, std::move(s));
  }
  return {{*rule, -1}};
}

Sequence JsonRules::space() {
  return once(space_, "white space", [&]() -> std::vector<Sequence> {
    const Sequence indent = d_.repeat(d_.chars({{' ', ' '}, {'\t', '\t'}}), 0, 20);
    return {{}, d_.literal(" "), d_.literal("\n") + indent};
  });
}

Sequence JsonRules::string_char() {
  return once(char_, "character", [&]() -> std::vector<Sequence> {
    const Sequence hex = d_.chars(kHex), hex2 = hex + hex, d = d_.chars({{'D', 'D'}, {'d', 'd'}});
    const CodeSet low{{'8', '9'}, {'A', 'B'}, {'a', 'b'}};  // of surrogates: in pairs only
    return {d_.chars(kMustEscape.complement()),
            d_.literal("\\") +
                d_.chars(
                    {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}),
            d_.literal("\\u") + d_.chars(kHex.minus({{'D', 'D'}, {'d', 'd'}})) + hex + hex2,
            d_.literal("\\u") + d + d_.chars({{'0', '7'}}) + hex2,
            d_.literal("\\u") + d + d_.chars(low) + hex2 + d_.literal("\\u") + d + d_.chars({{'C', 'F'}, {'c', 'f'}}) +
                hex2};
  });
}

Sequence JsonRules::chars_in_string(const CodeSet& set) {
  std::vector<Sequence> out;
  if (const CodeSet plain = set.minus(kMustEscape); !plain.empty()) out.push_back(d_.chars(plain));
  std::vector<std::string> escaped;
  for (const CodeRange& r : kMustEscape.ranges())
    for (char32_t c = r.low; c <= r.high; ++c) {
      if (!set.contains(c)) continue;
      const size_t at = std::string_view("\"\\\b\f\n\r\t").find(static_cast<char>(c));
      constexpr const char* kHexDigits = "0123456789abcdef";
      if (at != std::string_view::npos)
        escaped.push_back(std::string("\\") + "\"\\bfnrt"[at]);
      else
        escaped.push_back(std::string("\\u00") + kHexDigits[c >> 4] + kHexDigits[c & 15]);
    }
  if (!escaped.empty()) out.push_back(d_.one_of_texts(escaped));
  if (out.empty()) return d_.chars(set);  // says what is wrong with an empty set
  return d_.any_of(std::move(out));
}

Sequence JsonRules::quoted(const Sequence& inside) { return d_.literal("\"") + inside + d_.literal("\""); }

Sequence JsonRules::string() {
  return once(string_, "string",
              [&]() -> std::vector<Sequence> { return {quoted(d_.repeat(string_char(), 0, kNoLimit))}; });
}

Sequence JsonRules::integer() {
  return once(integer_, "integer", [&]() -> std::vector<Sequence> {
    return {d_.literal("0"),
            d_.optional(d_.literal("-")) + d_.chars({{'1', '9'}}) + d_.repeat(d_.chars(kDigit), 0, 17)};
  });
}

Sequence JsonRules::number() {
  return once(number_, "number", [&]() -> std::vector<Sequence> {
    const Sequence digit = d_.chars(kDigit);
    const Sequence whole = d_.any_of({d_.literal("0"), d_.chars({{'1', '9'}}) + d_.repeat(digit, 0, 17)});
    const Sequence exponent =
        d_.chars({{'E', 'E'}, {'e', 'e'}}) + d_.optional(d_.chars({{'+', '+'}, {'-', '-'}})) + d_.repeat(digit, 1, 2);
    return {d_.optional(d_.literal("-")) + whole + d_.optional(d_.literal(".") + d_.repeat(digit, 1, 17)) +
            d_.optional(exponent)};
  });
}

// low <= high, of equal length.
Sequence JsonRules::digits_between(const std::string& low, const std::string& high) {
  if (low.empty()) return {};
  auto digit = [&](char a, char b) { return d_.chars({{static_cast<char32_t>(a), static_cast<char32_t>(b)}}); };
  const std::string low_rest = low.substr(1), high_rest = high.substr(1);
  const std::string zeros(low_rest.size(), '0'), nines(low_rest.size(), '9');
  if (low[0] == high[0]) return digit(low[0], low[0]) + digits_between(low_rest, high_rest);
  std::vector<Sequence> out;
  char from = low[0], to = high[0];
  if (low_rest != zeros) out.push_back(digit(from, from) + digits_between(low_rest, nines)), ++from;
  if (high_rest != nines) out.push_back(digit(to, to) + digits_between(zeros, high_rest)), --to;
  const auto n = static_cast<int64_t>(zeros.size());
  if (from <= to) out.push_back(digit(from, to) + d_.repeat(digit('0', '9'), n, n));
  return d_.any_of(std::move(out));
}

Sequence JsonRules::natural_between(int64_t low, int64_t high) {
  std::vector<Sequence> out;
  for (int64_t first = 0, last = 9;; first = last + 1, last = last * 10 + 9) {  // numbers of one digit, of two, …
    if (last >= low) out.push_back(digits_between(cat(std::max(low, first)), cat(std::min(high, last))));
    if (last >= high) break;
  }
  return d_.any_of(std::move(out));
}

Sequence JsonRules::integer_between(int64_t low, int64_t high) {
  std::vector<Sequence> out;
  if (high >= 0) out.push_back(natural_between(std::max<int64_t>(low, 0), high));
  if (low < 0) out.push_back(d_.literal("-") + natural_between(std::max<int64_t>(-high, 1), -low));
  return d_.any_of(std::move(out));
}

Sequence JsonRules::value() {
  return once(value_, "value", [&]() -> std::vector<Sequence> {
    return {object(), array(), string(), number(), d_.literal("true"), d_.literal("false"), d_.literal("null")};
  });
}
Sequence JsonRules::object() {
  return once(object_, "object", [&]() -> std::vector<Sequence> {
    return {list('{', string() + d_.literal(":") + space() + value(), '}', 0, kNoLimit)};
  });
}
Sequence JsonRules::array() {
  return once(array_, "array", [&]() -> std::vector<Sequence> { return {list('[', value(), ']', 0, kNoLimit)}; });
}

Sequence JsonRules::list(char open, const Sequence& item, char close, int64_t min, int64_t max) {
  const Sequence begin = d_.literal(std::string(1, open)) + space(), end = d_.literal(std::string(1, close));
  if (max == 0) return begin + end;
  const Sequence more = d_.literal(",") + space() + item;
  Sequence items = item + d_.repeat(more, std::max<int64_t>(min - 1, 0), max == kNoLimit ? max : max - 1) + space();
  return begin + (min == 0 ? d_.optional(items) : items) + end;
}

Sequence JsonRules::other_key(const std::vector<std::string>& keys) {
  std::vector<std::u32string> codes;
  for (const std::string& key : keys) {
    if (key.size() > 1024) fail("[schema] a property's name is longer than 1024 bytes");
    std::u32string k;
    char32_t c = 0;
    for (size_t i = 0; i < key.size(); k += c) {
      const size_t n = decode_utf8(key, i, c);
      if (n == 0) fail("[schema] expected properties named in UTF-8");
      i += n;
    }
    codes.push_back(std::move(k));
  }
  std::sort(codes.begin(), codes.end());
  return d_.literal("\"") + key_after(codes, 0, codes.size(), 0);
}

// The rest of a key, with the closing quote, that is none of keys[begin..end), which agree in their first `offset`.
Sequence JsonRules::key_after(const std::vector<std::u32string>& keys, size_t begin, size_t end, size_t offset) {
  const CodeSet plain = kMustEscape.complement();
  CodeSet taken;
  std::vector<Sequence> out;
  if (begin < end && keys[begin].size() == offset)
    ++begin;
  else
    out.push_back(d_.literal("\""));
  while (begin < end) {
    const char32_t c = keys[begin][offset];
    size_t to = begin;
    while (to < end && keys[to][offset] == c) ++to;
    taken.add(c, c);
    if (plain.contains(c)) out.push_back(d_.chars({{c, c}}) + key_after(keys, begin, to, offset + 1));
    begin = to;
  }
  out.push_back(d_.chars(plain.minus(taken)) + d_.repeat(d_.chars(plain), 0, kNoLimit) + d_.literal("\""));
  return d_.any_of(std::move(out));
}

}  // namespace puyu::grammar
