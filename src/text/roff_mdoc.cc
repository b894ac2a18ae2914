#include <algorithm>

#include "text/roff_internal.h"

namespace puyu::roff {
namespace {

struct Inline {
  const char *before, *after;
  bool each;  // around each argument, not around all of them
};
// Macros that may be called inside a line and what they put around their arguments.
const std::map<std::string, Inline, std::less<>> kInline = {
    {"Ar", {"", "", false}},        {"Cm", {"", "", false}},          {"Ic", {"", "", false}},
    {"Pa", {"", "", false}},        {"Em", {"", "", false}},          {"Sy", {"", "", false}},
    {"Li", {"", "", false}},        {"Ev", {"", "", false}},          {"Dv", {"", "", false}},
    {"Er", {"", "", false}},        {"Va", {"", "", false}},          {"Vt", {"", "", false}},
    {"Ft", {"", "", false}},        {"Fa", {"", "", false}},          {"Sx", {"", "", false}},
    {"Tn", {"", "", false}},        {"No", {"", "", false}},          {"An", {"", "", false}},
    {"Ad", {"", "", false}},        {"St", {"", "", false}},          {"Nx", {"NetBSD", "", false}},
    {"Fx", {"FreeBSD", "", false}}, {"Ox", {"OpenBSD", "", false}},   {"Bx", {"BSD", "", false}},
    {"Ux", {"UNIX", "", false}},    {"At", {"AT&T UNIX", "", false}}, {"Lk", {"", "", false}},
    {"Mt", {"<", ">", false}},      {"Fl", {"-", "", true}},          {"Op", {"[", "]", false}},
    {"Bq", {"[", "]", false}},      {"Dq", {"“", "”", false}},        {"Qq", {"\"", "\"", false}},
    {"Ql", {"'", "'", false}},      {"Sq", {"'", "'", false}},        {"Pq", {"(", ")", false}},
    {"Aq", {"<", ">", false}},      {"Brq", {"{", "}", false}},       {"Fn", {"", "()", false}},
    {"Xr", {"", "", false}},        {"Nm", {"", "", false}},          {"In", {"#include <", ">", false}},
    {"Fd", {"", "", false}},        {"Nd", {"- ", "", false}},        {"Oo", {"[", "", false}},
    {"Oc", {"]", "", false}},       {"Ao", {"<", "", false}},         {"Ac", {">", "", false}},
    {"Po", {"(", "", false}},       {"Pc", {")", "", false}},         {"Do", {"“", "", false}},
    {"Dc", {"”", "", false}},       {"Qo", {"\"", "", false}},        {"Qc", {"\"", "", false}},
    {"So", {"'", "", false}},       {"Sc", {"'", "", false}},         {"Bo", {"[", "", false}},
    {"Ms", {"", "", false}}};

bool closes(std::string_view word) {
  return word == "." || word == "," || word == ";" || word == ":" || word == ")" || word == "]" || word == "?" ||
         word == "!";
}
bool opens(std::string_view word) { return word == "(" || word == "["; }

// Joins words with spaces except before closing and after opening punctuation and at Ns.
struct Sentence {
  std::string text;
  bool glue = true;
  void word(const std::string& w) {
    if (!glue && !closes(w) && !text.empty()) text += ' ';
    text += w;
    glue = opens(w);
  }
};

// The words of a line with the macros inside it applied. Macros that enclose the rest of the line (Op, Dq …) close
// before trailing punctuation.
std::string inline_text(const std::vector<std::string>& words, const std::string& page_name) {
  Sentence s;
  std::vector<std::string> closers;
  size_t last = words.size();
  while (last > 0 && closes(words[last - 1])) --last;
  for (size_t i = 0; i < last; ++i) {
    const std::string& w = words[i];
    auto it = kInline.find(w);
    if (w == "Ns" || w == "Ap") {
      s.glue = true;
      if (w == "Ap") s.text += '\'';
    } else if (it == kInline.end()) {
      s.word(w);
    } else if (w == "Xr" && i + 2 < words.size()) {
      bool section = !words[i + 2].empty() && words[i + 2][0] >= '0' && words[i + 2][0] <= '9';
      s.word(words[i + 1] + (section ? "(" + words[i + 2] + ")" : ""));
      i += section ? 2 : 1;
    } else if (w == "Nm" && (i + 1 >= last || kInline.contains(words[i + 1]) || closes(words[i + 1]))) {
      s.word(page_name);
    } else if (it->second.each) {  // Fl a b: -a -b; Fl alone: -
      bool any = false;
      while (i + 1 < last && !kInline.contains(words[i + 1]) && words[i + 1] != "Ns" && words[i + 1] != "Ap") {
        const std::string& arg = words[++i];
        s.word(arg == "|" || closes(arg) ? arg : it->second.before + arg);
        any = true;
      }
      if (!any) s.word(it->second.before), s.glue = true;
    } else {
      const Inline& m = it->second;
      if (*m.after == '\0') {
        if (*m.before) s.word(m.before), s.glue = opens(m.before);
        continue;
      }
      s.word(m.before);
      s.glue = true;
      if (w == "Fn" && i + 1 < last) {
        s.word(words[++i] + "(");
        for (s.glue = true; i + 1 < last && !kInline.contains(words[i + 1]);) {
          s.word(words[++i]);
          if (i + 1 < last) s.text += ',';
        }
        s.text += ')';
      } else {
        closers.emplace_back(m.after);
      }
    }
  }
  while (!closers.empty()) s.text += closers.back(), closers.pop_back();
  for (size_t i = last; i < words.size(); ++i) s.text += words[i];
  return s.text;
}

std::vector<std::string> clean_words(std::string_view rest, const Strings& strings) {
  auto words = arguments(rest);
  for (std::string& w : words) w = plain(w, strings);
  return words;
}

}  // namespace

void Mdoc::list_item(Page& page, const std::string& text) {
  if (!lists_.empty() && lists_.back())
    page.item(text);
  else
    page.item("-");
  if (!lists_.empty() && !lists_.back() && !text.empty()) page.text(text);
}

bool Mdoc::request(Page& page, std::string_view name, std::string_view rest, const Strings& strings) {
  auto words = clean_words(rest, strings);
  if (name == "Sh" || name == "Ss") {
    page.heading(inline_text(words, name_), name == "Ss");
  } else if (name == "Pp" || name == "Lp") {
    page.paragraph();
  } else if (name == "Bl") {
    bool tags = std::any_of(words.begin(), words.end(), [](const std::string& w) {
      return w == "-tag" || w == "-hang" || w == "-ohang" || w == "-inset" || w == "-diag" || w == "-column";
    });
    if (!lists_.empty()) page.indent(4);
    if (lists_.size() < 64) lists_.push_back(tags);
  } else if (name == "El") {
    if (lists_.size() > 1) page.indent(-4);
    if (!lists_.empty()) lists_.pop_back();
    page.paragraph();
  } else if (name == "It") {
    list_item(page, inline_text(words, name_));
  } else if (name == "Bd") {
    page.paragraph();
    page.set_fill(std::find(words.begin(), words.end(), "-filled") != words.end());
  } else if (name == "Ed") {
    page.set_fill(true);
    page.paragraph();
  } else if (name == "Dl" || name == "D1") {
    page.line_break();
    page.text(inline_text(words, name_));
    page.line_break();
  } else if (name == "Nm" && !words.empty() && name_.empty()) {
    name_ = words[0];
    page.text(inline_text(words, name_));
  } else if (name == "Fo" || name == "Fc") {
    page.text(name == "Fo" && !words.empty() ? words[0] + "(" : ")");
  } else if (kInline.contains(name)) {
    words.insert(words.begin(), std::string(name));
    page.text(inline_text(words, name_));
  } else {
    return false;
  }
  return true;
}

}  // namespace puyu::roff
