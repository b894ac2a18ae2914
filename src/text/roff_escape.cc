#include <algorithm>
#include <cstdlib>

#include "base/utf8.h"
#include "text/roff_internal.h"

namespace puyu::roff {
namespace {

const std::map<std::string, const char*, std::less<>> kSpecials = {
    {"bu", "•"},  {"em", "—"},  {"en", "–"}, {"hy", "-"},  {"mi", "-"},  {"aq", "'"},  {"dq", "\""},  {"lq", "“"},
    {"rq", "”"},  {"oq", "‘"},  {"cq", "’"}, {"co", "©"},  {"rg", "®"},  {"tm", "™"},  {"ha", "^"},   {"ti", "~"},
    {"rs", "\\"}, {"sl", "/"},  {"ba", "|"}, {"bv", "|"},  {"br", "|"},  {"or", "|"},  {"ul", "_"},   {"ru", "_"},
    {"mu", "×"},  {"di", "÷"},  {"<=", "≤"}, {">=", "≥"},  {"==", "≡"},  {"!=", "≠"},  {"->", "→"},   {"<-", "←"},
    {"+-", "±"},  {"**", "*"},  {"de", "°"}, {"ga", "`"},  {"aa", "´"},  {"Fo", "«"},  {"Fc", "»"},   {"sc", "§"},
    {"dg", "†"},  {"dd", "‡"},  {"lB", "["}, {"rB", "]"},  {"lC", "{"},  {"rC", "}"},  {"la", "<"},   {"ra", ">"},
    {"fm", "'"},  {"sd", "\""}, {"12", "½"}, {"14", "¼"},  {"34", "¾"},  {"sq", "□"},  {"ci", "○"},   {"eq", "="},
    {"pl", "+"},  {"at", "@"},  {"sh", "#"}, {"Do", "$"},  {"Eu", "€"},  {"Po", "£"},  {"Ye", "¥"},   {"ct", "¢"},
    {"*a", "α"},  {"*b", "β"},  {"*g", "γ"}, {"*d", "δ"},  {"*e", "ε"},  {"*h", "θ"},  {"*l", "λ"},   {"*m", "μ"},
    {"*p", "π"},  {"*s", "σ"},  {"*t", "τ"}, {"*f", "φ"},  {"*w", "ω"},  {"*D", "Δ"},  {"*G", "Γ"},   {"*S", "Σ"},
    {"*W", "Ω"},  {"*P", "Π"},  {"if", "∞"}, {"sr", "√"},  {"is", "∫"},  {"mo", "∈"},  {"no", "¬"},   {"da", "↓"},
    {"ua", "↑"},  {"ss", "ß"},  {"ae", "æ"}, {"o/", "ø"},  {"O/", "Ø"},  {"/l", "ł"},  {"oa", "å"},   {"bs", ""},
    {"S1", "¹"},  {"S2", "²"},  {"S3", "³"}, {"~~", "≈"},  {"~=", "≈"},  {"ap", "~"},  {"Of", "ª"},   {"lh", "☜"},
    {"rh", "☞"},  {"CR", "↵"},  {"OK", "✓"}, {"ff", "ff"}, {"fi", "fi"}, {"fl", "fl"}, {"Fi", "ffi"}, {"tf", "∴"}};
const std::map<std::string, const char*, std::less<>> kStrings = {
    {"lq", "“"},  {"rq", "”"},  {"R", "®"},  {"Tm", "™"}, {"S", ""},   {"L\"", "“"}, {"R\"", "”"}, {"C`", "\""},
    {"C'", "\""}, {"Lq", "“"},  {"Rq", "”"}, {"q", "\""}, {"Ba", "|"}, {"Ge", ">="}, {"Le", "<="}, {"Gt", ">"},
    {"Lt", "<"},  {"Ne", "!="}, {"Pm", "±"}, {"Am", "&"}, {"--", "-"}, {"PI", "π"}};

// A combining mark for the first character of \('e and the like; NFC joins the two later.
char32_t accent(char c) {
  switch (c) {
    case '\'':
      return 0x301;
    case '`':
      return 0x300;
    case '^':
      return 0x302;
    case '~':
      return 0x303;
    case ':':
      return 0x308;
    case ',':
      return 0x327;
    case 'v':
      return 0x30c;
    default:
      return 0;
  }
}

std::string special(std::string_view name) {
  if (auto it = kSpecials.find(name); it != kSpecials.end()) return it->second;
  std::string out;
  if (name.size() >= 5 && name[0] == 'u') {  // \[u4E00]
    auto c = static_cast<char32_t>(std::strtoul(std::string(name.substr(1)).c_str(), nullptr, 16));
    if (c >= 0x20 && c < 0x110000 && !(c >= 0xd800 && c < 0xe000)) append_utf8(out, c);
    return out;
  }
  if (name.starts_with("char")) {
    int c = std::atoi(std::string(name.substr(4)).c_str());
    if (c >= 0x20 && c < 256) append_utf8(out, static_cast<char32_t>(c));
    return out;
  }
  if (name.size() == 2 && accent(name[0])) {
    out += name[1];
    append_utf8(out, accent(name[0]));
  }
  return out;
}

// The name after \f, \*, \n, \( at s[i]: one character, "(xx" or "[name]"; moves i past it.
std::string_view take_name(std::string_view s, size_t& i) {
  if (i >= s.size()) return {};
  if (s[i] == '(') {
    std::string_view name = s.substr(i + 1, 2);
    i += 1 + name.size();
    return name;
  }
  if (s[i] == '[') {
    size_t end = std::min(s.find(']', i), s.size());
    std::string_view name = s.substr(i + 1, end - i - 1);
    i = std::min(end + 1, s.size());
    return name;
  }
  char32_t c = 0;
  std::string_view name = s.substr(i, std::max<size_t>(decode_utf8(s, i, c), 1));
  i += name.size();
  return name;
}

// Moves past 'argument' whose delimiter is the character at s[i].
std::string_view take_quoted(std::string_view s, size_t& i) {
  if (i >= s.size()) return {};
  size_t end = std::min(s.find(s[i], i + 1), s.size());
  std::string_view inside = s.substr(i + 1, end - i - 1);
  i = std::min(end + 1, s.size());
  return inside;
}

void append_string(std::string& out, std::string_view name, const Strings& strings) {
  if (auto it = strings.find(name); it != strings.end())
    out += it->second;
  else if (auto known = kStrings.find(name); known != kStrings.end())
    out += known->second;
}

// What follows an escape's letter, and whether it leaves anything (groff(7), "Escape sequences").
constexpr std::string_view kTakesName = "fFgkmMVY";            // fonts, colours, registers: a name, no text
constexpr std::string_view kTakesQuoted = "hvwbABDHlLoRSxXZ";  // motions and drawings: 'argument', no text
constexpr std::string_view kNothing = "&)|^/,%:{}!?adpruz";    // zero-width and thin spaces, breaks, half lines
constexpr std::string_view kSpace = " ~0";

void skip_sign(std::string_view s, size_t& i) {
  if (i < s.size() && (s[i] == '+' || s[i] == '-')) ++i;
}

// \s, a type size: \sN, \s+N, \s(NN, \s[N], \s'N'.
void skip_size(std::string_view s, size_t& i) {
  skip_sign(s, i);
  if (i < s.size() && s[i] == '\'')
    take_quoted(s, i);
  else if (i < s.size() && (s[i] == '(' || s[i] == '['))
    take_name(s, i);
  else
    for (int digits = 0; digits < 2 && i < s.size() && s[i] >= '0' && s[i] <= '9'; ++digits) ++i;
}

// Appends what the escape stands for; i stands behind its letter c and moves behind all of it.
void append_escape(std::string& out, char c, std::string_view s, size_t& i, const Strings& strings, bool* joins) {
  auto is_one_of = [c](std::string_view set) { return set.find(c) != std::string_view::npos; };
  if (c == '(' || c == '[') {
    out += special(take_name(s, --i));
  } else if (c == 'C') {
    out += special(take_quoted(s, i));
  } else if (c == 'N') {
    out += special("char" + std::string(take_quoted(s, i)));
  } else if (c == '*') {
    append_string(out, take_name(s, i), strings);
  } else if (c == 'n') {
    skip_sign(s, i);
    take_name(s, i);
  } else if (c == 's') {
    skip_size(s, i);
  } else if (c == 't') {
    out += '\t';
  } else if (c == 'e' || c == '\\') {
    out += '\\';
  } else if (c == 'c') {
    if (joins) *joins = true;
  } else if (is_one_of(kTakesName)) {
    take_name(s, i);
  } else if (is_one_of(kTakesQuoted)) {
    take_quoted(s, i);
  } else if (is_one_of(kSpace)) {
    out += ' ';
  } else if (!is_one_of(kNothing)) {
    out += c;  // \\- \\' \\. and, as groff, every unknown one
  }
}

}  // namespace

std::string plain(std::string_view s, const Strings& strings, bool* joins) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    if (s[i] != '\\') {
      out += s[i++];
      continue;
    }
    if (++i >= s.size()) break;
    const char c = s[i++];
    if (c == '"' || c == '#') break;  // a comment
    append_escape(out, c, s, i, strings, joins);
  }
  return out;
}

std::vector<std::string> arguments(std::string_view s) {
  std::vector<std::string> out;
  for (size_t i = 0;;) {
    while (i < s.size() && (s[i] == ' ' || s[i] == '\t')) ++i;
    if (i >= s.size() || s.substr(i, 2) == "\\\"") return out;
    std::string arg;
    if (s[i] == '"') {
      for (++i; i < s.size(); ++i) {
        if (s[i] == '"') {
          if (i + 1 >= s.size() || s[i + 1] != '"') break;
          ++i;
        }
        arg += s[i];
      }
      ++i;
    } else {
      for (; i < s.size() && s[i] != ' ' && s[i] != '\t'; ++i) {
        arg += s[i];
        if (s[i] == '\\' && i + 1 < s.size()) arg += s[++i];
      }
    }
    out.push_back(std::move(arg));
  }
}

}  // namespace puyu::roff
