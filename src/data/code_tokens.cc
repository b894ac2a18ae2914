#include "data/code_tokens.h"

#include <algorithm>

#include "base/hash.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace puyu {
namespace {

// The signs of a language: where comments begin and end, and which quotes it has.
struct Signs {
  std::string_view line, other_line;  // comments to the end of the line
  std::string_view open, close;       // comments that end in `close`
  bool triple = false;                // """ and '''
  bool apostrophe = true;             // '…' is a string of any length; else a character, as in C
  bool backtick = false;              // `…` over several lines
};

Signs signs_of(std::string_view language) {
  auto is = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), language) != names.end();
  };
  if (language == "python") return {"#", "", "", "", true};
  if (is({"shell", "ruby", "perl", "cmake"})) return {"#", "", "", ""};
  if (language == "php") return {"//", "#", "/*", "*/"};
  if (language == "sql") return {"--", "", "/*", "*/"};
  if (language == "lua") return {"--", "", "--[[", "]]"};
  if (language == "haskell") return {"--", "", "{-", "-}", false, false};
  if (is({"javascript", "typescript"})) return {"//", "", "/*", "*/", false, true, true};
  return {"//", "", "/*", "*/", is({"kotlin", "swift", "scala", "java"}), false, language == "go"};
}

constexpr size_t kLongestChar = 12;  // '\U0001f600' and its like

constexpr std::string_view kOperators[] = {"<<=", ">>=", "...", "===", "!==", "**=", "->*", "<=>", "&&", "||",
                                           "==",  "!=",  "<=",  ">=",  "->",  "=>",  "::",  "++",  "--", "+=",
                                           "-=",  "*=",  "/=",  "%=",  "&=",  "|=",  "^=",  "<<",  ">>", "**",
                                           "//",  "??",  "?.",  ":=",  "<-",  "..",  "|>"};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit_char(char c) { return c >= '0' && c <= '9'; }
bool is_letter_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// Bytes of the character at i when it may stand in an identifier, else 0.
size_t word_char(std::string_view s, size_t i) {
  const auto b = static_cast<unsigned char>(s[i]);
  if (b < 0x80) return is_letter_char(s[i]) || is_digit_char(s[i]) || b == '$';
  char32_t c = 0;
  const size_t n = decode_utf8(s, i, c);
  return n && (is_letter(c) || is_digit(c)) ? n : 0;
}

size_t word_end(std::string_view s, size_t i) {
  for (size_t n; i < s.size() && (n = word_char(s, i)) > 0;) i += n;
  return i;
}

size_t number_end(std::string_view s, size_t i) {
  const size_t start = i;
  const bool hex = s.substr(i).starts_with("0x") || s.substr(i).starts_with("0X");
  for (; i < s.size(); ++i) {
    const char c = s[i], next = i + 1 < s.size() ? s[i + 1] : ' ', before = i > start ? s[i - 1] : ' ';
    const bool point = c == '.' && next != '.' && !is_letter_char(next);  // 1.5 and 1., not 1..2 and 1.max()
    const bool mark = c == '\'' && is_digit_char(next);
    const bool sign = (c == '+' || c == '-') && (hex ? before == 'p' || before == 'P' : before == 'e' || before == 'E');
    if (!is_letter_char(c) && !is_digit_char(c) && !point && !mark && !sign) break;
  }
  return i;
}

// Behind the closing quote, or 0 when there is none: on this line, or with `lines` anywhere.
size_t quoted_end(std::string_view s, size_t i, bool lines) {
  const char quote = s[i];
  for (++i; i < s.size(); ++i) {
    if (s[i] == '\\')
      ++i;
    else if (s[i] == quote)
      return i + 1;
    else if (s[i] == '\n' && !lines)
      return 0;
  }
  return 0;
}

size_t after(std::string_view s, std::string_view mark, size_t from) {
  const size_t at = s.find(mark, from);
  return at == s.npos ? 0 : at + mark.size();
}

// Behind the string that begins at i, or 0: no string begins here.
size_t string_end(const Signs& g, std::string_view s, size_t i, bool cpp) {
  const std::string_view rest = s.substr(i);
  if (cpp && rest.starts_with("R\"")) {  // R"mark(…)mark"
    const size_t open = rest.find('(');
    if (open == rest.npos || open > 18) return 0;
    return after(s, ")" + std::string(rest.substr(2, open - 2)) + "\"", i + open);
  }
  if (g.triple && (rest.starts_with("\"\"\"") || rest.starts_with("'''"))) return after(s, rest.substr(0, 3), i + 3);
  if (s[i] == '"') return quoted_end(s, i, false);
  if (s[i] == '`') return g.backtick ? quoted_end(s, i, true) : 0;
  if (s[i] != '\'') return 0;
  const size_t end = quoted_end(s, i, false);
  if (g.apostrophe || end == 0) return end;
  if (i + 1 < s.size() && s[i + 1] == '\\') return end - i <= kLongestChar ? end : 0;
  char32_t c = 0;  // one character: not Rust's 'a in <'a>(x: &'a T)
  return end - i == 2 + std::max<size_t>(1, decode_utf8(s, i + 1, c)) ? end : 0;
}

// Behind the comment that begins at i, or 0. One that does not end goes to the end of the text.
size_t comment_end(const Signs& g, std::string_view s, size_t i) {
  const std::string_view rest = s.substr(i);
  if (!g.open.empty() && rest.starts_with(g.open)) {
    const size_t end = after(s, g.close, i + g.open.size());
    return end ? end : s.size();
  }
  if (rest[0] == '#' && i > 0 && (s[i - 1] == '$' || s[i - 1] == '{')) return 0;  // ${#x} and $#x
  if (rest.starts_with(g.line) || (!g.other_line.empty() && rest.starts_with(g.other_line)))
    return i + std::min(rest.find('\n'), rest.size());
  return 0;
}

size_t operator_end(std::string_view s, size_t i) {
  for (const std::string_view op : kOperators)
    if (s.substr(i).starts_with(op)) return i + op.size();
  char32_t c = 0;
  const size_t n = static_cast<unsigned char>(s[i]) < 0x80 ? 1 : decode_utf8(s, i, c);
  return i + (n ? n : 1);
}

}  // namespace

std::vector<CodeToken> code_tokens(std::string_view language, std::string_view s) {
  const Signs g = signs_of(language);
  const bool cpp = language == "cpp";
  std::vector<CodeToken> out;
  out.reserve(s.size() / 4);
  for (size_t i = 0, end = 0; i < s.size(); i = end) {
    CodeKind kind = CodeKind::kOperator;
    if (is_space(s[i])) {
      end = i + 1;
      continue;
    }
    if ((end = comment_end(g, s, i)) > 0) {
      kind = CodeKind::kComment;
    } else if ((end = string_end(g, s, i, cpp)) > 0) {
      kind = CodeKind::kString;
    } else if (is_digit_char(s[i]) || (s[i] == '.' && i + 1 < s.size() && is_digit_char(s[i + 1]))) {
      kind = CodeKind::kNumber, end = number_end(s, i);
    } else if (word_char(s, i)) {
      kind = CodeKind::kIdentifier, end = word_end(s, i);
    } else {
      end = operator_end(s, i);
    }
    out.push_back({kind, s.substr(i, end - i)});
  }
  return out;
}

Signature code_minhash(std::string_view language, std::string_view text, int ngram) {
  if (text.starts_with("```")) {  // Markdown: what is in the fence
    text.remove_prefix(std::min(text.find('\n'), text.size()));
    text = text.substr(0, text.rfind("```"));
  }
  std::vector<uint64_t> hashes;
  for (const CodeToken& t : code_tokens(language, text))
    if (t.kind != CodeKind::kComment) hashes.push_back(hash64(t.text));
  return hashes.empty() ? minhash(text, ngram) : minhash_tokens(hashes, ngram);
}

}  // namespace puyu
