#include "text/latex.h"

#include <array>
#include <set>

#include "base/utf8.h"
#include "text/latex_internal.h"
#include "text/unicode.h"

namespace puyu {
namespace {

template <class List>
bool holds(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

constexpr std::string_view kDroppedEnvironments[] = {"figure",      "figure*",      "wrapfigure",    "subfigure",
                                                     "tikzpicture", "picture",      "pspicture",     "thebibliography",
                                                     "comment",     "filecontents", "filecontents*", "CCSXML",
                                                     "keywords",    "IEEEkeywords", "teaserfigure",  "tikzcd"};
constexpr std::string_view kMathEnvironments[] = {
    "equation",  "equation*", "align",   "align*",   "gather",  "gather*",  "multline",    "multline*",    "eqnarray",
    "eqnarray*", "math",      "alignat", "alignat*", "flalign", "flalign*", "displaymath", "subequations", "dmath"};
constexpr std::string_view kCodeEnvironments[] = {"verbatim", "lstlisting", "minted", "Verbatim"};
constexpr std::string_view kTableEnvironments[] = {"tabular", "tabular*", "tabularx", "longtable", "array"};
// Commands that vanish with so many groups behind them (and the options in brackets).
struct Vanishing {
  std::string_view name;
  int groups;
};
constexpr Vanishing kVanishing[] = {{"label", 1},
                                    {"cite", 1},
                                    {"citep", 1},
                                    {"citet", 1},
                                    {"citealp", 1},
                                    {"citeauthor", 1},
                                    {"citeyear", 1},
                                    {"citealt", 1},
                                    {"citep*", 1},
                                    {"parencite", 1},
                                    {"textcite", 1},
                                    {"autocite", 1},
                                    {"nocite", 1},
                                    {"ref", 1},
                                    {"eqref", 1},
                                    {"cref", 1},
                                    {"Cref", 1},
                                    {"autoref", 1},
                                    {"pageref", 1},
                                    {"nameref", 1},
                                    {"vspace", 1},
                                    {"hspace", 1},
                                    {"includegraphics", 1},
                                    {"bibliography", 1},
                                    {"bibliographystyle", 1},
                                    {"usepackage", 1},
                                    {"documentclass", 1},
                                    {"pagestyle", 1},
                                    {"thispagestyle", 1},
                                    {"setlength", 2},
                                    {"addtolength", 2},
                                    {"setcounter", 2},
                                    {"addtocounter", 2},
                                    {"color", 1},
                                    {"textcolor", 1},
                                    {"colorbox", 1},
                                    {"definecolor", 3},
                                    {"author", 1},
                                    {"affil", 1},
                                    {"affiliation", 1},
                                    {"address", 1},
                                    {"email", 1},
                                    {"thanks", 1},
                                    {"date", 1},
                                    {"institute", 1},
                                    {"keywords", 1},
                                    {"title", 1},
                                    {"addbibresource", 1},
                                    {"graphicspath", 1},
                                    {"hypersetup", 1},
                                    {"newtheorem", 2},
                                    {"theoremstyle", 1},
                                    {"index", 1},
                                    {"input", 1},
                                    {"phantom", 1},
                                    {"multicolumn", 2},
                                    {"multirow", 2},
                                    {"cmidrule", 1},
                                    {"cline", 1},
                                    {"newcommand", 2},
                                    {"renewcommand", 2},
                                    {"providecommand", 2},
                                    {"markboth", 2},
                                    {"fontsize", 2},
                                    {"resizebox", 2},
                                    {"scalebox", 1},
                                    {"raisebox", 1},
                                    {"rule", 2},
                                    {"href", 1},
                                    {"hyperref", 0},
                                    {"pacs", 1}};
constexpr std::pair<std::string_view, std::string_view> kSymbols[] = {{"ss", "ß"},
                                                                      {"o", "ø"},
                                                                      {"O", "Ø"},
                                                                      {"ae", "æ"},
                                                                      {"AE", "Æ"},
                                                                      {"oe", "œ"},
                                                                      {"OE", "Œ"},
                                                                      {"aa", "å"},
                                                                      {"AA", "Å"},
                                                                      {"l", "ł"},
                                                                      {"L", "Ł"},
                                                                      {"i", "ı"},
                                                                      {"j", "ȷ"},
                                                                      {"ldots", "…"},
                                                                      {"dots", "…"},
                                                                      {"S", "§"},
                                                                      {"P", "¶"},
                                                                      {"copyright", "©"},
                                                                      {"pounds", "£"},
                                                                      {"LaTeX", "LaTeX"},
                                                                      {"TeX", "TeX"},
                                                                      {"BibTeX", "BibTeX"},
                                                                      {"textbackslash", "\\"},
                                                                      {"textasciitilde", "~"},
                                                                      {"textasciicircum", "^"},
                                                                      {"textbar", "|"},
                                                                      {"textless", "<"},
                                                                      {"textgreater", ">"},
                                                                      {"textquoteright", "’"},
                                                                      {"textquoteleft", "‘"},
                                                                      {"textdegree", "°"},
                                                                      {"quad", " "},
                                                                      {"qquad", " "},
                                                                      {"slash", "/"},
                                                                      {"textendash", "–"},
                                                                      {"textemdash", "—"},
                                                                      {"dag", "†"}};
constexpr std::string_view kHeadings[] = {"part", "chapter", "section", "subsection", "subsubsection"};

// The combining mark of an accent command, or 0.
char32_t accent_of(std::string_view command) {
  constexpr std::pair<std::string_view, char32_t> kAccents[] = {
      {"`", 0x300}, {"'", 0x301}, {"^", 0x302}, {"~", 0x303}, {"=", 0x304}, {"u", 0x306}, {".", 0x307}, {"\"", 0x308},
      {"r", 0x30a}, {"H", 0x30b}, {"v", 0x30c}, {"d", 0x323}, {"c", 0x327}, {"k", 0x328}, {"b", 0x331}};
  for (const auto& [name, mark] : kAccents)
    if (name == command) return mark;
  return 0;
}

class TextPass {
 public:
  explicit TextPass(std::string_view source) : s_(source), braces_(match_tex_braces(source)) {}
  LatexPaper run() {
    LatexPaper paper;
    paper.title = title();
    const size_t begin = s_.find("\\begin{document}"), end = s_.find("\\end{document}", begin == s_.npos ? 0 : begin);
    read(begin == s_.npos ? 0 : begin + 16, std::min(end, s_.size()), 0);
    paper.text = std::move(out_);
    while (!paper.text.empty() && (paper.text.back() == '\n' || paper.text.back() == ' ')) paper.text.pop_back();
    if (!paper.text.empty()) paper.text += '\n';
    return paper;
  }

 private:
  static constexpr int kMostDepth = 24;
  struct List {
    bool numbered = false;
    int next = 1;
  };

  std::string title() {
    for (size_t at = s_.find("\\title"); at != s_.npos; at = s_.find("\\title", at + 6)) {
      size_t i = at + 6;
      if (i < s_.size() && is_tex_letter(s_[i])) continue;
      skip_options(i);
      if (i >= s_.size() || s_[i] != '{' || braces_[i] == kNoBrace) return "";
      read(i + 1, braces_[i], 0);
      std::string text = std::move(out_);
      out_.clear();
      std::replace(text.begin(), text.end(), '\n', ' ');
      while (!text.empty() && text.back() == ' ') text.pop_back();
      return text;
    }
    return "";
  }

  void read(size_t at, size_t end, int depth) {
    if (depth > kMostDepth) return;
    while (at < end) {
      const char c = s_[at];
      if (c == '\\') {
        at = read_command(at, end, depth);
      } else if (c == '$') {
        at = read_dollars(at, end);
      } else if (c == '{' || c == '}') {
        ++at;
      } else if (c == '\n' || c == ' ' || c == '\t') {
        size_t next = at, lines = 0;
        for (; next < end && (s_[next] == '\n' || s_[next] == ' ' || s_[next] == '\t'); ++next)
          lines += s_[next] == '\n';
        if (lines > 1)
          paragraph();
        else if (lines == 0 || !between_ideographs(next, end))
          space();
        at = next;
      } else if (c == '~') {
        space(), ++at;
      } else if (c == '&' && tables_ > 0) {
        while (out_.ends_with(' ')) out_.pop_back();
        out_ += " | ", ++at;
      } else if (c == '`' || c == '\'' || c == '-') {
        at = read_ligature(at, end);
      } else {
        out_ += c, ++at;
      }
    }
  }

  void space() {
    if (!out_.empty() && out_.back() != ' ' && out_.back() != '\n') out_ += ' ';
  }
  void line() {
    while (out_.ends_with(' ')) out_.pop_back();
    if (!out_.empty() && out_.back() != '\n') out_ += '\n';
  }
  void paragraph() {
    line();
    if (!out_.empty() && !out_.ends_with("\n\n")) out_ += '\n';
  }
  // Does a line end stand between Chinese characters? Then it is no space.
  bool between_ideographs(size_t next, size_t end) const {
    char32_t after = 0, before = 0;
    if (next >= end || !decode_utf8(s_, next, after) || !is_han(after)) return false;
    size_t i = out_.size();
    while (i > 0 && (out_[i - 1] & 0xc0) == 0x80) --i;
    return i > 0 && decode_utf8(out_, i - 1, before) && is_han(before);
  }

  size_t read_ligature(size_t at, size_t end) {
    constexpr std::pair<std::string_view, std::string_view> kLigatures[] = {{"``", "“"}, {"''", "”"}, {"---", "—"},
                                                                            {"--", "–"}, {"`", "‘"},  {"'", "’"}};
    for (const auto& [from, to] : kLigatures)
      if (s_.substr(at, std::min(from.size(), end - at)) == from) {
        out_ += to;
        return at + from.size();
      }
    out_ += s_[at];
    return at + 1;
  }

  // Formulae stay as they are but for labels. display: a paragraph of its own.
  void formula(std::string_view tex, bool display) {
    if (display) paragraph();
    std::string text;
    for (size_t i = 0; i < tex.size();) {
      if (tex.substr(i, 7) == "\\label{") {
        const size_t close = tex.find('}', i);
        if (close == tex.npos) break;
        i = close + 1;
      } else if (tex[i] == '\n' || tex[i] == ' ') {
        if (!text.empty() && text.back() != ' ' && text.back() != '\n') text += display ? tex[i] : ' ';
        ++i;
      } else {
        text += tex[i++];
      }
    }
    out_ += text;
    if (display) paragraph();
  }
  size_t read_dollars(size_t at, size_t end) {
    const bool display = s_.substr(at, 2) == "$$";
    size_t i = at + (display ? 2 : 1);
    while (i < end && s_[i] != '$') i += s_[i] == '\\' ? 2 : 1;
    i = std::min(i, end);
    const size_t stop = std::min(i + (display ? 2 : 1), end);
    formula(s_.substr(at, stop - at), display);
    return stop;
  }

  void skip_options(size_t& at) const {
    for (size_t i = skip_tex_spaces(s_, at); i < s_.size() && s_[i] == '['; i = skip_tex_spaces(s_, at)) {
      const size_t close = s_.substr(i, 2000).find(']');
      if (close == s_.npos) return;
      at = i + close + 1;
    }
  }
  // The group behind `at`; false when there is none. Moves behind it.
  bool group(size_t& at, size_t end, size_t& from, size_t& to) const {
    const size_t i = skip_tex_spaces(s_, at);
    if (i >= end || s_[i] != '{' || braces_[i] == kNoBrace || braces_[i] >= end) return false;
    from = i + 1, to = braces_[i], at = to + 1;
    return true;
  }

  size_t read_command(size_t at, size_t end, int depth) {
    const size_t n = tex_command_length(s_, at);
    const std::string_view name = s_.substr(at + 1, n - 1);
    size_t next = std::min(at + n, end), from = 0, to = 0;
    if (name == "begin" || name == "end") return environment(name == "begin", at, next, end);
    if (name == "(" || name == "[") return math_brackets(at, end, name == "[");
    if (name == "\\" || name == "newline" || name == "tabularnewline" || name == "cr") {
      if (next < end && s_[next] == '*') ++next;
      if (next < end && s_[next] == '[') skip_options(next);
      return line(), std::min(next, end);
    }
    if (name == "item") return item(next, end, depth);
    if (name == "par") return paragraph(), next;
    const bool letters = !name.empty() && is_tex_letter(name[0]);
    if (accent_of(name) && (!letters || (next < end && (s_[next] == '{' || s_[next] == ' '))))
      return accent(name, next, end);
    if (!letters) {
      if (name.find_first_of("%&$#_{} ") != name.npos) out_ += name;
      return next;
    }
    if (next < end && s_[next] == '*') ++next;
    if (holds(kHeadings, name)) {
      skip_options(next);
      if (!group(next, end, from, to)) return next;
      paragraph(), read(from, to, depth + 1), paragraph();
      return next;
    }
    if (name == "footnote") {
      if (!group(next, end, from, to)) return next;
      out_ += " (", read(from, to, depth + 1), out_ += ")";
      return next;
    }
    return simple_command(name, next, end);
  }

  size_t simple_command(std::string_view name, size_t next, size_t end) {
    size_t from = 0, to = 0;
    for (const auto& [known, text] : kSymbols)
      if (known == name) {
        out_ += text;
        return s_.substr(next, 1) == " " && text != " " ? next + 1 : next;
      }
    for (const Vanishing& v : kVanishing)
      if (v.name == name) {
        skip_options(next);
        for (int g = 0; g < v.groups; ++g) {
          if (!group(next, end, from, to)) break;
          skip_options(next);
        }
        if (name.starts_with("cite") && out_.ends_with(' ')) out_.pop_back();
        return std::min(next, end);
      }
    size_t after = next;
    skip_options(after);  // \command[...]{text}: the text stays
    if (after != next && after < end && s_[after] == '{') return after;
    return skip_blank(next, end);
  }
  // The blanks that end a command's name, but not a paragraph's end.
  size_t skip_blank(size_t at, size_t end) const {
    while (at < end && s_[at] == ' ') ++at;
    return at;
  }

  size_t accent(std::string_view name, size_t next, size_t end) {
    size_t from = next = skip_blank(next, end), to = 0, after = next;
    if (!group(after, end, from, to)) to = after = std::min(end, next + 1);
    std::string_view letter = s_.substr(from, to - from);
    if (letter == "\\i" || letter == "\\j") letter = letter.substr(1);
    if (letter == "\\" && s_.substr(from, 2) == "\\i") letter = "i", after = from + 2;
    char32_t c = 0;
    const size_t n = decode_utf8(letter, 0, c);
    if (n == 0 || letter[0] == '\\' || letter[0] == '$') return next;
    std::string composed(letter.substr(0, n));
    append_utf8(composed, accent_of(name));
    out_ += normalize_nfc(composed);
    out_ += letter.substr(n);
    return after;
  }

  size_t math_brackets(size_t at, size_t end, bool display) {
    const size_t close = s_.substr(0, end).find(display ? "\\]" : "\\)", at + 2);
    const size_t stop = close == s_.npos ? end : close + 2;
    formula(s_.substr(at, stop - at), display);
    return stop;
  }

  size_t item(size_t next, size_t end, int depth) {
    line();
    if (!lists_.empty() && lists_.back().numbered)
      out_ += std::to_string(lists_.back().next++) + ". ";
    else
      out_ += "- ";
    const size_t from = next, open = skip_tex_spaces(s_, next);
    skip_options(next);
    if (next != from && next <= end) {
      read(open + 1, next - 1, depth + 1);
      out_ += ' ';
    }
    return std::min(skip_tex_spaces(s_, next), end);
  }

  // Where "\end{name}" ends behind `at`, or kNoBrace. What was not found once is not looked for again.
  size_t end_of(const std::string& name, size_t at, size_t end) {
    if (unclosed_.contains(name)) return kNoBrace;
    const std::string close = "\\end{" + name + "}";
    const size_t found = s_.substr(0, end).find(close, at);
    if (found != s_.npos) return found + close.size();
    unclosed_.insert(name);
    return kNoBrace;
  }

  size_t environment(bool begins, size_t at, size_t next, size_t end) {
    size_t from = 0, to = 0;
    if (!group(next, end, from, to)) return next;
    const std::string name(s_.substr(from, to - from));
    const bool list = name == "enumerate" || name == "itemize" || name == "description",
               table = holds(kTableEnvironments, name);
    if (!begins) {
      if (list && !lists_.empty()) lists_.pop_back();
      if (table && tables_ > 0) --tables_;
      paragraph();
      return next;
    }
    const bool math = holds(kMathEnvironments, name), code = holds(kCodeEnvironments, name);
    if (math || code || holds(kDroppedEnvironments, name)) {
      const size_t stop = end_of(name, next, end);
      if (stop == kNoBrace) return next;
      if (math) formula(s_.substr(at, stop - at), true);
      if (code) keep_code(name, next, stop);
      return stop;
    }
    paragraph();
    if (list && lists_.size() < 64) lists_.push_back({name == "enumerate"});
    skip_options(next);
    if (table) {
      ++tables_;
      for (bool more = name == "tabular*" || name == "tabularx"; group(next, end, from, to) && more;) more = false;
    }
    return std::min(next, end);
  }
  void keep_code(const std::string& name, size_t from, size_t stop) {
    size_t at = from;
    if (name != "verbatim") skip_options(at);
    if (size_t a = 0, b = 0; name == "minted") group(at, stop, a, b);
    std::string_view code = s_.substr(at, stop - at - (name.size() + 6));
    while (code.starts_with('\n')) code.remove_prefix(1);
    paragraph();
    out_ += code;
    paragraph();
  }

  std::string_view s_;
  std::vector<size_t> braces_;
  std::string out_;
  std::vector<List> lists_;
  int tables_ = 0;
  std::set<std::string> unclosed_;
};

}  // namespace

LatexPaper latex_to_text(std::string_view source) { return TextPass(source).run(); }

}  // namespace puyu
