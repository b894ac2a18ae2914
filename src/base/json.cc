#include "base/json.h"

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "base/utf8.h"

namespace puyu {
namespace {

constexpr int kMaxDepth = 128;

class Parser {
 public:
  Parser(std::string_view s, std::string_view where) : s_(s), where_(where) {}
  Json document() {
    Json v = value(0);
    space();
    if (i_ != s_.size()) bad("the end of the document");
    return v;
  }

 private:
  [[noreturn]] void bad(std::string_view expected) {
    std::string got =
        i_ < s_.size() ? cat("'", repair_utf8(utf8_prefix(s_.substr(i_), 12)), "'") : "the end of the text";
    fail("[json] ", where_, ": byte ", i_, ": expected ", expected, ", got ", got);
  }
  void space() {
    while (i_ < s_.size() && (s_[i_] == ' ' || s_[i_] == '\n' || s_[i_] == '\t' || s_[i_] == '\r')) ++i_;
  }
  bool eat(char c) {
    if (i_ < s_.size() && s_[i_] == c) return ++i_, true;
    return false;
  }
  bool word(std::string_view w) {
    if (s_.substr(i_, w.size()) != w) return false;
    i_ += w.size();
    return true;
  }
  Json value(int depth) {
    if (depth > kMaxDepth) fail("[json] ", where_, ": byte ", i_, ": nested deeper than ", kMaxDepth, " levels");
    space();
    if (i_ >= s_.size()) bad("a value");
    switch (s_[i_]) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        if (word("true")) return true;
        break;
      case 'f':
        if (word("false")) return false;
        break;
      case 'n':
        if (word("null")) return {};
        break;
      default:
        return number();
    }
    bad("a value");
  }
  Json object(int depth) {
    Json::Object out;
    std::unordered_set<std::string> seen;
    ++i_;
    space();
    if (eat('}')) return out;
    for (;;) {
      space();
      if (i_ >= s_.size() || s_[i_] != '"') bad("a key in quotes");
      std::string key = string();
      if (!seen.insert(key).second) fail("[json] ", where_, ": byte ", i_, ": the key '", key, "' occurs twice");
      space();
      if (!eat(':')) bad("':'");
      out.emplace_back(std::move(key), value(depth + 1));
      space();
      if (eat('}')) return out;
      if (!eat(',')) bad("',' or '}'");
    }
  }
  Json array(int depth) {
    Json::Array out;
    ++i_;
    space();
    if (eat(']')) return out;
    for (;;) {
      out.push_back(value(depth + 1));
      space();
      if (eat(']')) return out;
      if (!eat(',')) bad("',' or ']'");
    }
  }
  Json number() {
    size_t b = i_;
    auto digits = [&] {
      size_t d = i_;
      while (i_ < s_.size() && s_[i_] >= '0' && s_[i_] <= '9') ++i_;
      return i_ > d;
    };
    eat('-');
    size_t first = i_;
    if (!digits()) bad("a value");
    if (s_[first] == '0' && i_ > first + 1) bad("a number without a leading zero");
    bool integral = true;
    if (eat('.')) {
      integral = false;
      if (!digits()) bad("a digit");
    }
    if (i_ < s_.size() && (s_[i_] == 'e' || s_[i_] == 'E')) {
      integral = false;
      ++i_;
      if (!eat('+')) eat('-');
      if (!digits()) bad("a digit");
    }
    const char *p = s_.data() + b, *e = s_.data() + i_;
    if (int64_t n = 0; integral && std::from_chars(p, e, n).ec == std::errc{}) return static_cast<long long>(n);
    double d = 0;
    if (std::from_chars(p, e, d).ec != std::errc{}) fail("[json] ", where_, ": byte ", b, ": number out of range");
    return d;
  }
  unsigned hex4() {
    unsigned v = 0;
    if (i_ + 4 > s_.size()) bad("four hex digits");
    auto r = std::from_chars(s_.data() + i_, s_.data() + i_ + 4, v, 16);
    if (r.ptr != s_.data() + i_ + 4) bad("four hex digits");
    i_ += 4;
    return v;
  }
  std::string string() {
    std::string out;
    ++i_;
    for (;;) {
      size_t b = i_;
      while (i_ < s_.size() && s_[i_] != '"' && s_[i_] != '\\' && static_cast<unsigned char>(s_[i_]) >= 0x20) ++i_;
      if (!valid_utf8(s_.substr(b, i_ - b))) fail("[json] ", where_, ": byte ", b, ": invalid UTF-8 in a string");
      out.append(s_.substr(b, i_ - b));
      if (i_ >= s_.size()) bad("the closing '\"'");
      if (eat('"')) return out;
      if (!eat('\\')) bad("an escaped control character");
      escape(out);
    }
  }
  void escape(std::string& out) {
    char c = i_ < s_.size() ? s_[i_++] : '\0';
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        return;
      case 'b':
        out += '\b';
        return;
      case 'f':
        out += '\f';
        return;
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case 'u':
        break;
      default:
        --i_;
        bad("an escape");
    }
    char32_t u = hex4();
    if (size_t second = i_; u >= 0xD800 && u < 0xDC00 && word("\\u")) {
      unsigned low = hex4();
      if (low >= 0xDC00 && low < 0xE000)
        u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
      else
        i_ = second;  // not a pair: the second escape stands for itself
    }
    append_utf8(out, u >= 0xD800 && u < 0xE000 ? 0xFFFD : u);  // a lone surrogate has no UTF-8 form
  }

  std::string_view s_, where_;
  size_t i_ = 0;
};

void dump_string(std::string& out, std::string_view raw) {
  std::string fixed;
  std::string_view s = raw;
  if (!valid_utf8(raw)) s = fixed = repair_utf8(raw);
  out += '"';
  size_t plain = 0;  // [plain, i) needs no escape: text is copied in runs
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
    out.append(s, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        constexpr char kHex[] = "0123456789abcdef";
        out += cat("\\u00", c & 16 ? "1" : "0", kHex[c & 15]);
    }
  }
  out.append(s, plain);
  out += '"';
}

void dump_value(std::string& out, const Json& j, int indent, int level) {
  auto line = [&](int l) {
    if (indent) out.append("\n").append(static_cast<size_t>(indent) * static_cast<size_t>(l), ' ');
  };
  if (j.is_null()) {
    out += "null";
  } else if (j.is_bool()) {
    out += j.as_bool() ? "true" : "false";
  } else if (j.is_int()) {
    out += cat(j.as_int());
  } else if (j.is_number()) {
    double d = j.as_double();
    char buf[32];
    auto r = std::to_chars(buf, buf + sizeof buf, d);  // the shortest text that reads back as the same double
    out += std::isfinite(d) ? std::string_view(buf, static_cast<size_t>(r.ptr - buf)) : std::string_view("null");
  } else if (j.is_string()) {
    dump_string(out, j.as_string());
  } else if (j.is_array()) {
    out += '[';
    const char* sep = "";
    for (const Json& v : j.as_array()) {
      out += sep;
      line(level + 1);
      dump_value(out, v, indent, level + 1);
      sep = ",";
    }
    if (j.size()) line(level);
    out += ']';
  } else {
    out += '{';
    const char* sep = "";
    for (const auto& [k, v] : j.as_object()) {
      out += sep;
      line(level + 1);
      dump_string(out, k);
      out += indent ? ": " : ":";
      dump_value(out, v, indent, level + 1);
      sep = ",";
    }
    if (j.size()) line(level);
    out += '}';
  }
}

}  // namespace

Json Json::parse(std::string_view text, std::string_view where) { return Parser(text, where).document(); }
std::string Json::dump(int indent) const {
  std::string out;
  dump_value(out, *this, indent, 0);
  return out;
}
const char* Json::type_name() const {
  constexpr const char* kNames[] = {"null", "a boolean", "an integer", "a number", "a string", "an array", "an object"};
  return kNames[v_.index()];
}
bool Json::as_bool() const {
  if (!is_bool()) fail("expected a boolean, got ", type_name());
  return std::get<bool>(v_);
}
int64_t Json::as_int() const {
  if (is_int()) return std::get<int64_t>(v_);
  if (is_number()) {
    double d = std::get<double>(v_);
    if (d == std::floor(d) && std::fabs(d) < 9e15) return static_cast<int64_t>(d);
  }
  fail("expected an integer, got ", type_name());
}
double Json::as_double() const {
  if (is_int()) return static_cast<double>(std::get<int64_t>(v_));
  if (!is_number()) fail("expected a number, got ", type_name());
  return std::get<double>(v_);
}
const std::string& Json::as_string() const {
  if (!is_string()) fail("expected a string, got ", type_name());
  return std::get<std::string>(v_);
}
const Json::Array& Json::as_array() const {
  if (!is_array()) fail("expected an array, got ", type_name());
  return std::get<Array>(v_);
}
const Json::Object& Json::as_object() const {
  if (!is_object()) fail("expected an object, got ", type_name());
  return std::get<Object>(v_);
}
const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [k, v] : std::get<Object>(v_))
    if (k == key) return &v;
  return nullptr;
}
const Json& Json::at(std::string_view key) const {
  const Json* v = find(key);
  if (!v) fail("expected a field '", key, "' in ", type_name());
  return *v;
}
Json& Json::operator[](std::string_view key) {
  if (is_null()) v_ = Object{};
  if (!is_object()) fail("expected an object, got ", type_name());
  auto& members = std::get<Object>(v_);
  for (auto& [k, v] : members)
    if (k == key) return v;
  return members.emplace_back(std::string(key), Json()).second;
}
void Json::push(Json v) {
  if (is_null()) v_ = Array{};
  if (!is_array()) fail("expected an array, got ", type_name());
  std::get<Array>(v_).push_back(std::move(v));
}
size_t Json::size() const { return is_array() ? as_array().size() : is_object() ? as_object().size() : 0; }

namespace {
template <class F>
auto field(std::string_view key, const Json* v, F&& read) {
  try {
    return read(*v);
  } catch (const Error& e) { fail("field '", key, "': ", e.what()); }
}
bool absent(const Json* v) { return !v || v->is_null(); }
}  // namespace

template <>
bool Json::get(std::string_view k, bool f) const {
  const Json* v = find(k);
  return absent(v) ? f : field(k, v, [](const Json& j) { return j.as_bool(); });
}
template <>
int64_t Json::get(std::string_view k, int64_t f) const {
  const Json* v = find(k);
  return absent(v) ? f : field(k, v, [](const Json& j) { return j.as_int(); });
}
template <>
int Json::get(std::string_view k, int f) const {
  int64_t n = get<int64_t>(k, f);
  if (n < INT32_MIN || n > INT32_MAX) fail("field '", k, "': ", n, " is out of range");
  return static_cast<int>(n);
}
template <>
double Json::get(std::string_view k, double f) const {
  const Json* v = find(k);
  return absent(v) ? f : field(k, v, [](const Json& j) { return j.as_double(); });
}
template <>
std::string Json::get(std::string_view k, std::string f) const {
  const Json* v = find(k);
  return absent(v) ? std::move(f) : field(k, v, [](const Json& j) { return j.as_string(); });
}

}  // namespace puyu
