#include "data/code_batches.h"

#include <algorithm>
#include <map>

#include "data/code_tokens.h"

namespace puyu {
namespace {

using Names = std::set<std::string_view>;

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Words after which the name of a definition stands.
bool defines(std::string_view word) {
  return one_of(
      word, {"class",     "struct", "enum",  "union", "def", "define", "function", "func",    "fn",     "fun",   "type",
             "interface", "trait",  "const", "let",   "var", "using",  "typedef",  "concept", "module", "object"});
}

// Words that stand before a call and are no type.
bool is_no_type(std::string_view word) {
  return one_of(word, {"return", "else", "new", "delete", "throw", "case", "goto", "in", "and", "or", "not", "if",
                       "while", "for", "switch", "sizeof", "co_return", "co_await", "do"});
}

bool is_c(std::string_view language) { return language == "c" || language == "cpp"; }

bool begins_line(std::string_view text, const CodeToken& t) {
  return t.text.data() == text.data() || t.text.data()[-1] == '\n';
}

Names identifiers_of(const RepositoryFile& f) {
  Names out;
  for (const CodeToken& t : code_tokens(f.language, f.content))
    if (t.kind == CodeKind::kIdentifier) out.insert(t.text);
  return out;
}

// What the batch stands for: the files below it that are no batches themselves.
void add_members(const std::vector<std::vector<size_t>>& needs, const std::vector<bool>& batch, size_t at,
                 std::set<size_t>& seen, std::set<size_t>& out) {
  for (const size_t to : needs[at]) {
    if (!seen.insert(to).second) continue;
    if (batch[to])
      add_members(needs, batch, to, seen, out);
    else
      out.insert(to);
  }
}

// The text with spaces where comments are, and strings of several lines (documentation).
std::string without_comments(const RepositoryFile& f) {
  std::string out = f.content;
  for (const CodeToken& t : code_tokens(f.language, f.content)) {
    const bool lines = t.text.find('\n') != t.text.npos;
    if (t.kind != CodeKind::kComment && !(t.kind == CodeKind::kString && lines)) continue;
    const auto at = static_cast<size_t>(t.text.data() - f.content.data());
    for (size_t i = at; i < at + t.text.size(); ++i)
      if (out[i] != '\n') out[i] = ' ';
  }
  return out;
}

}  // namespace

Names defined_names(std::string_view language, std::string_view content) {
  Names out;
  std::vector<CodeToken> tokens = code_tokens(language, content);
  std::erase_if(tokens, [](const CodeToken& t) { return t.kind == CodeKind::kComment; });
  auto is_name = [&](size_t i) { return i < tokens.size() && tokens[i].kind == CodeKind::kIdentifier; };
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!is_name(i)) continue;
    const std::string_view name = tokens[i].text, next = i + 1 < tokens.size() ? tokens[i + 1].text : "";
    if (defines(name) && is_name(i + 1)) out.insert(tokens[i + 1].text);
    if (language == "python" && next == "=" && begins_line(content, tokens[i])) out.insert(name);
    // "int name(": a declaration; "x = name(" and "return name(" are calls.
    const bool typed =
        i > 0 && ((is_name(i - 1) && !is_no_type(tokens[i - 1].text)) || one_of(tokens[i - 1].text, {"*", "&", ">"}));
    if (is_c(language) && next == "(" && typed) out.insert(name);
  }
  return out;
}

bool is_batch(const RepositoryFile& f) {
  const bool python = f.language == "python", script = one_of(f.language, {"javascript", "typescript"});
  if (!python && !script && !is_c(f.language)) return false;
  const std::string text = without_comments(f);
  std::string_view rest = text;
  bool imports = false, open = false;  // open: inside the brackets of an import
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::vector<CodeToken> tokens = code_tokens(f.language, line);
    if (tokens.empty()) continue;
    if (open) {
      open = !one_of(tokens.back().text, {")", "}", "]", ";"});
      continue;
    }
    const std::string_view first = tokens[0].text, second = tokens.size() > 1 ? tokens[1].text : "";
    if (is_c(f.language)) {
      if (first != "#" || !one_of(second, {"include", "ifndef", "ifdef", "if", "define", "endif", "pragma"}))
        return false;
      if (second == "define" && tokens.size() > 3) return false;  // more than a guard
      imports |= second == "include";
    } else if (python ? one_of(first, {"from", "import"}) : first == "export" || first == "import") {
      if (script && !one_of(second, {"*", "{", "type"}) && !second.starts_with('"') && !second.starts_with('\''))
        return false;
      imports = true;
      open = one_of(tokens.back().text, {"(", "{", ","});
    } else if (!(python && (tokens[0].kind == CodeKind::kString || first == "__all__"))) {
      return false;
    } else {
      open = one_of(tokens.back().text, {"[", ","});
    }
  }
  return imports;
}

void refine_batches(const std::vector<RepositoryFile>& files, std::vector<std::vector<size_t>>& needs) {
  std::vector<bool> batch(files.size());
  for (size_t i = 0; i < files.size(); ++i) batch[i] = is_batch(files[i]);
  if (std::find(batch.begin(), batch.end(), true) == batch.end()) return;
  std::map<size_t, Names> defined;  // of the members, as they are asked for
  const std::vector<std::vector<size_t>> before = needs;
  for (size_t i = 0; i < files.size(); ++i) {
    if (batch[i] || std::none_of(before[i].begin(), before[i].end(), [&](size_t b) { return batch[b]; })) continue;
    const Names words = identifiers_of(files[i]);
    std::set<size_t> out;
    for (const size_t b : before[i]) {
      std::set<size_t> seen = {b, i}, members, used;
      if (batch[b]) add_members(before, batch, b, seen, members);
      for (const size_t m : members) {
        if (!defined.contains(m)) defined[m] = defined_names(files[m].language, files[m].content);
        if (std::any_of(defined[m].begin(), defined[m].end(), [&](std::string_view n) { return words.contains(n); }))
          used.insert(m);
      }
      if (used.empty())
        out.insert(b);
      else
        out.insert(used.begin(), used.end());
    }
    needs[i].assign(out.begin(), out.end());
  }
}

}  // namespace puyu
