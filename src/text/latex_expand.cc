// What comes before the text of a LaTeX source can be read: comments, inputs, macros.
#include <map>

#include "text/latex.h"
#include "text/latex_internal.h"

namespace puyu {
namespace {

constexpr int kMostInputs = 16;                  // deep
constexpr size_t kMostFiles = 1000;              // read for one paper
constexpr size_t kMostBytes = size_t{64} << 20;  // of a paper with its inputs
constexpr int kMostMacros = 8;                   // one in another
constexpr size_t kMostGrowth = size_t{1} << 20;  // by macros, beside twice the source
constexpr std::string_view kVerbatim[] = {"verbatim", "lstlisting", "minted"};

// The end of the verbatim environment that begins at s[at], or at.
size_t verbatim_end(std::string_view s, size_t at) {
  for (std::string_view name : kVerbatim) {
    const std::string open = "\\begin{" + std::string(name), close = "\\end{" + std::string(name);
    if (!s.substr(at).starts_with(open)) continue;
    const size_t end = s.find(close, at);
    return end == std::string_view::npos ? at : end + close.size();
  }
  return at;
}

// A comment takes its line end and the next line's blanks with it, unless that line is blank.
std::string without_comments(std::string_view s) {
  std::string out;
  bool can_be_verbatim = true;
  for (size_t i = 0; i < s.size();) {
    if (s[i] == '\\') {
      if (can_be_verbatim && s.substr(i, 7) == "\\begin{") {
        const size_t end = verbatim_end(s, i);
        out += s.substr(i, end - i);
        if (end > i) {
          i = end;
          continue;
        }
      }
      out += s.substr(i, 2), i += 2;
    } else if (s[i] == '%') {
      const size_t end = s.find('\n', i);
      if (end == std::string_view::npos) return out;
      const bool whole_line = out.empty() || out.back() == '\n';
      i = end + 1;
      if (whole_line) continue;
      size_t next = i;
      while (next < s.size() && (s[next] == ' ' || s[next] == '\t')) ++next;
      if (next < s.size() && s[next] == '\n')
        out += '\n';  // a paragraph ends here
      else
        i = next;
    } else if (s[i] == '\r') {
      if (s.substr(i, 2) != "\r\n") out += '\n';
      ++i;
    } else {
      out += s[i++];
    }
  }
  return out;
}

class InputPass {
 public:
  explicit InputPass(const LatexFiles& files) : files_(files) {}
  void expand(std::string_view raw, int depth) {
    const std::string source = without_comments(raw);
    const std::string_view s = source;
    for (size_t i = 0; i < s.size();) {
      const size_t n = s[i] == '\\' ? tex_command_length(s, i) : std::min(s.find('\\', i), s.size()) - i;
      const std::string_view piece = s.substr(i, n);
      i += n;
      if (piece == "\\input" || piece == "\\include" || piece == "\\subfile")
        read_file(read_name(s, piece == "\\input", i), depth);
      else
        out += piece;
    }
  }
  std::string out;
  size_t missing = 0;

 private:
  // "{name}", or "name" behind \input; moves behind it.
  static std::string read_name(std::string_view s, bool bare, size_t& i) {
    size_t at = skip_tex_spaces(s, i), end = at;
    if (at < s.size() && s[at] == '{') {
      end = s.substr(at, 1024).find('}');
      if (end == std::string_view::npos) return "";
      i = at + end + 1;
      ++at, end += at - 1;
    } else if (bare) {
      i = end = std::min(s.find_first_of(" \t\n\\{}", at), s.size());
    }
    std::string_view name = s.substr(at, end - at);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\n')) name.remove_suffix(1);
    while (!name.empty() && (name.front() == ' ' || name.front() == '\n')) name.remove_prefix(1);
    return std::string(name);
  }
  void read_file(const std::string& name, int depth) {
    if (name.empty()) return;
    const bool more = depth < kMostInputs && ++count_ <= kMostFiles && out.size() < kMostBytes;
    if (auto content = more ? files_(name) : std::nullopt)
      expand(*content, depth + 1);
    else
      ++missing;
  }
  const LatexFiles& files_;
  size_t count_ = 0;
};

using Macros = std::map<std::string, std::string, std::less<>>;

// The definition that begins at s[at] (a command of length n): fills name and body and gives its end; 0 when it is
// none.
size_t read_definition(std::string_view s, size_t at, size_t n, const std::vector<size_t>& braces, std::string& name,
                       std::string& body, bool& usable) {
  const std::string_view command = s.substr(at, n);
  const bool def = command == "\\def", op = command == "\\DeclareMathOperator";
  if (!def && !op && command != "\\newcommand" && command != "\\renewcommand" && command != "\\providecommand")
    return 0;
  size_t i = at + n;
  if (i < s.size() && s[i] == '*') ++i;
  i = skip_tex_spaces(s, i);
  if (i < s.size() && s[i] == '{' && !def) {
    const size_t end = braces[i];
    if (end == kNoBrace) return 0;
    const size_t from = skip_tex_spaces(s, i + 1);
    if (from >= end || s[from] != '\\') return 0;
    name = s.substr(from, std::min(tex_command_length(s, from), end - from)), i = end + 1;
  } else if (i < s.size() && s[i] == '\\') {
    const size_t length = tex_command_length(s, i);
    name = s.substr(i, length), i += length;
  } else {
    return 0;
  }
  usable = true;
  i = skip_tex_spaces(s, i);
  while (i < s.size() && s[i] == '[') {  // arguments
    const size_t end = s.substr(i, 256).find(']');
    if (end == std::string_view::npos) return 0;
    usable = usable && s.substr(i, end) == "[0";
    i = skip_tex_spaces(s, i + end + 1);
  }
  if (def && i < s.size() && s[i] != '{') {  // parameters
    const size_t end = s.substr(i, 256).find('{');
    if (end == std::string_view::npos) return 0;
    usable = false, i += end;
  }
  if (i >= s.size() || s[i] != '{' || braces[i] == kNoBrace) return 0;
  body = s.substr(i + 1, braces[i] - i - 1);
  if (op) body = "\\operatorname{" + body + "}";
  return braces[i] + 1;
}

class Expander {
 public:
  Expander(const Macros& macros, size_t most) : macros_(macros), most_(most) {}
  void expand(std::string_view s, int depth) {
    for (size_t i = 0; i < s.size();) {
      if (s[i] != '\\') {
        const size_t next = std::min(s.find('\\', i), s.size());
        out += s.substr(i, next - i), i = next;
        continue;
      }
      const size_t n = tex_command_length(s, i);
      auto it = macros_.find(s.substr(i, n));
      if (it == macros_.end() || depth >= kMostMacros || read_ + it->second.size() > most_) {
        out += s.substr(i, n), i += n;
        continue;
      }
      read_ += it->second.size() + 1;
      expand(it->second, depth + 1);
      i += n;
      // What ended the name must not grow together with the text.
      if (!out.empty() && is_tex_letter(out.back()) && ends_in_command() && i < s.size() && is_tex_letter(s[i]))
        out += ' ';
    }
  }
  std::string out;

 private:
  bool ends_in_command() const {
    size_t i = out.size();
    while (i > 0 && is_tex_letter(out[i - 1])) --i;
    return i > 0 && out[i - 1] == '\\';
  }
  const Macros& macros_;
  size_t most_, read_ = 0;  // bytes of macros' bodies
};

}  // namespace

std::vector<size_t> match_tex_braces(std::string_view s) {
  std::vector<size_t> match(s.size(), kNoBrace), open;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\') {
      ++i;
    } else if (s[i] == '{') {
      open.push_back(i);
    } else if (s[i] == '}' && !open.empty()) {
      match[open.back()] = i;
      open.pop_back();
    }
  }
  return match;
}

std::string expand_latex_inputs(std::string_view source, const LatexFiles& files, size_t& missing) {
  InputPass pass(files);
  pass.expand(source, 0);
  missing += pass.missing;
  return std::move(pass.out);
}

std::string expand_latex_macros(std::string_view s) {
  const std::vector<size_t> braces = match_tex_braces(s);
  Macros macros;
  std::string rest;
  for (size_t i = 0; i < s.size();) {
    if (s[i] != '\\') {
      const size_t next = std::min(s.find('\\', i), s.size());
      rest += s.substr(i, next - i), i = next;
      continue;
    }
    const size_t n = tex_command_length(s, i);
    std::string name, body;
    bool usable = false;
    const size_t end = read_definition(s, i, n, braces, name, body, usable);
    if (end == 0) {
      rest += s.substr(i, n), i += n;
      continue;
    }
    if (usable && name != "\\begin" && name != "\\end") macros[name] = body;
    i = end;
  }
  if (macros.empty()) return rest;
  Expander e(macros, 2 * s.size() + kMostGrowth);
  e.expand(rest, 0);
  return std::move(e.out);
}

bool is_latex_main(std::string_view source) {
  if (source.find("\\begin{document}") == std::string_view::npos) return false;
  for (std::string_view command : {"\\documentclass", "\\documentstyle"})
    for (size_t at = source.find(command); at != std::string_view::npos; at = source.find(command, at + 1)) {
      const size_t line = source.rfind('\n', at);
      if (source.substr(line + 1, at - line - 1).find('%') == std::string_view::npos) return true;
    }
  return false;
}

}  // namespace puyu
