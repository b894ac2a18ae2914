#include "data/code_imports.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "text/pattern.h"

namespace puyu {
namespace {

constexpr size_t kLongestLine = 1000;  // generated code holds no imports

// An import is a line that matches `head`, followed by `name`.
struct Statement {
  SplitPattern head, name;
};

const std::vector<Statement>& statements_of(std::string_view language) {
  struct Row {
    const char *languages, *head, *name;
  };
  static const Row kRows[] = {
      {"python", R"([ \t]*from[ \t]+)", R"([.\p{L}\p{N}_]+)"},
      {"python", R"([ \t]*import[ \t]+)", R"([\p{L}\p{N}_.]+)"},
      {"c cpp", R"([ \t]*#[ \t]*include[ \t]*["<])", R"([^">]+)"},
      {"java kotlin scala", R"([ \t]*import[ \t]+(?:static[ \t]+)?)", R"([\p{L}\p{N}_.]+)"},
      {"javascript typescript", R"([ \t]*(?:import|export)[^"']*["'])", R"([^"']+)"},
      {"javascript typescript", R"([^"']*require\([ \t]*["'])", R"([^"']+)"},
      {"go", R"([ \t]*(?:import[ \t]+)?(?:[\p{L}\p{N}_.]+[ \t]+)?")", R"([^"]+)"},
      {"rust", R"([ \t]*(?:pub[ \t]+)?mod[ \t]+)", R"([\p{L}\p{N}_]+)"},
      {"rust", R"([ \t]*(?:pub[ \t]+)?use[ \t]+(?:crate::|super::|self::)?)", R"([\p{L}\p{N}_:]+)"},
      {"ruby", R"([ \t]*require(?:_relative)?[ \t(]+["'])", R"([^"']+)"},
      {"php", R"([ \t]*(?:require|include)(?:_once)?[ \t(]+["'])", R"([^"']+)"},
      {"shell", R"([ \t]*(?:source|\.)[ \t]+["']?)", R"([^ \t;"']+)"},
      {"lua", R"([^"']*require[ \t(]*["'])", R"([^"']+)"},
      {"perl", R"([ \t]*(?:use|require)[ \t]+)", R"([\p{L}\p{N}_:]+)"}};
  static const std::map<std::string, std::vector<Statement>, std::less<>> kStatements = [] {
    std::map<std::string, std::vector<Statement>, std::less<>> out;
    for (const Row& r : kRows)
      for (std::string_view rest = r.languages; !rest.empty();) {
        const size_t end = std::min(rest.find(' '), rest.size());
        out[std::string(rest.substr(0, end))].push_back({SplitPattern(r.head), SplitPattern(r.name)});
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
    return out;
  }();
  static const std::vector<Statement> kNone;
  const auto it = kStatements.find(language);
  return it == kStatements.end() ? kNone : it->second;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at; (at = text.find(from)) != text.npos; text.remove_prefix(at + from.size()))
    out.append(text.substr(0, at)).append(to);
  return out.append(text);
}

// "a/./b/../c" as "a/c".
std::string tidy(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == ".." && !parts.empty())
      parts.pop_back();
    else if (!part.empty() && part != "." && part != "..")
      parts.push_back(part);
    at = end + 1;
  }
  std::string out;
  for (const auto& p : parts) out += (out.empty() ? "" : "/") + p;
  return out;
}

std::string joined(const std::string& folder, const std::string& name) {
  return tidy(folder.empty() ? name : folder + "/" + name);
}

std::vector<std::string> with_endings(const std::string& stem, std::initializer_list<const char*> endings) {
  std::vector<std::string> out;
  for (const char* e : endings) out.push_back(stem + e);
  return out;
}

// "a.b" and "..b" (from the folder above) of Python. The names after "import" may be modules too: a batch.
void add_python(std::string_view path, std::string_view name, std::string_view rest, std::vector<Import>& out) {
  size_t dots = 0;
  while (dots < name.size() && name[dots] == '.') ++dots;
  std::string stem = replaced(name.substr(dots), ".", "/");
  if (dots > 0) {
    std::string folder = folder_of(path);
    for (size_t i = 1; i < dots; ++i) folder = folder_of(folder);
    stem = joined(folder, stem);
  }
  const bool relative = dots > 0;
  if (!stem.empty()) out.push_back({with_endings(stem, {".py", "/__init__.py"}), relative});
  const size_t import = rest.find("import");
  if (import != rest.npos) rest.remove_prefix(import + 6);  // "from a import b, c": a/b.py, a/c.py
  std::string word;
  for (char c : std::string(rest) + ",") {
    if (c == ',' || c == '#') {
      word = word.substr(0, word.find(" as "));
      std::erase_if(word,
                    [](char b) { return b == ' ' || b == '(' || b == ')' || b == '\t' || b == '\r' || b == '\\'; });
      const std::string module = replaced(word, ".", "/");
      if (!word.empty() && import != rest.npos)
        out.push_back({with_endings(stem.empty() ? module : stem + "/" + module, {".py", "/__init__.py"}), relative});
      else if (!word.empty())
        out.push_back({with_endings(module, {".py", "/__init__.py"}), false});  // "import a, b"
      word.clear();
      if (c == '#') break;
    } else {
      word += c;
    }
  }
}

// All but Python: `name` as paths.
Import import_of(std::string_view language, std::string_view path, const std::string& name) {
  const std::string folder = folder_of(path);
  if (language == "java" || language == "kotlin" || language == "scala") {
    const std::string stem = replaced(name, ".", "/");
    return {with_endings(stem, {".java", ".kt", ".scala"})};
  }
  if (language == "javascript" || language == "typescript") {
    const bool relative = name.starts_with('.');
    return {with_endings(relative ? joined(folder, name) : name,
                         {"", ".ts", ".tsx", ".js", ".jsx", ".mjs", "/index.ts", "/index.js"}),
            relative};
  }
  if (language == "rust") {
    std::string stem = replaced(name, "::", "/");
    std::vector<std::string> paths = with_endings(stem, {".rs", "/mod.rs"});
    for (size_t slash; (slash = stem.rfind('/')) != stem.npos;) {  // the last names may be items
      stem.resize(slash);
      paths.push_back(stem + ".rs"), paths.push_back(stem + "/mod.rs");
    }
    return {paths};
  }
  if (language == "lua") return {with_endings(replaced(name, ".", "/"), {".lua", "/init.lua"})};
  if (language == "perl") return {{replaced(name, "::", "/") + ".pm"}};
  if (language == "ruby") return {with_endings(tidy(name), {"", ".rb"})};
  return {{language == "go" ? name : tidy(name)}};
}

}  // namespace

std::string folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "" : std::string(path.substr(0, slash));
}

std::vector<Import> find_imports(std::string_view language, std::string_view path, std::string_view content) {
  std::vector<Import> out;
  const auto& statements = statements_of(language);
  if (statements.empty()) return out;
  while (!content.empty()) {
    const std::string_view line = content.substr(0, content.find('\n'));
    content.remove_prefix(std::min(line.size() + 1, content.size()));
    if (line.empty() || line.size() > kLongestLine) continue;
    for (const Statement& s : statements) {
      const size_t at = s.head.match(line, 0);
      const size_t end = at < line.size() ? s.name.match(line, at) : line.npos;
      if (end == line.npos) continue;
      const std::string_view name = line.substr(at, end - at);
      if (language == "python")
        add_python(path, name, line.substr(end), out);
      else
        out.push_back(import_of(language, path, std::string(name)));
      break;
    }
  }
  return out;
}

}  // namespace puyu
