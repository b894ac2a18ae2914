#include "data/code_describe.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/error.h"
#include "data/code_batches.h"
#include "data/code_tokens.h"

namespace puyu {
namespace {

constexpr size_t kMostNames = 12, kMostFiles = 40, kMostSentence = 240;

// Text without the signs of comments, on one line.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool sign = std::string_view("/*#\"'-=!{}").find(c) != std::string_view::npos;
    if (c == '\n' || c == '\t' || c == ' ') {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else if (!sign || (!out.empty() && out.back() != ' ')) {
      out += c;
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// The first sentence of at least three words.
std::string first_sentence(std::string_view text) {
  const std::string s = plain(text);
  for (size_t i = 0; i < s.size() && i < kMostSentence; ++i) {
    const bool ends = (s[i] == '.' && (i + 1 == s.size() || s[i + 1] == ' ')) || s.compare(i, 3, "。") == 0;
    if (ends) return s.substr(0, i + (s[i] == '.' ? 1 : 3));
  }
  if (s.size() > kMostSentence) return "";
  return std::count(s.begin(), s.end(), ' ') >= 2 ? s + "." : "";
}

bool is_license(std::string_view text) {
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"copyright", "license", "licence", "spdx"})
    if (lower.find(word) != std::string::npos) return true;
  return false;
}

// What the file says of itself: its first comment, or the string at its head, that is no license.
std::string own_words(const RepositoryFile& f) {
  std::string block;
  const char* end = nullptr;
  for (const CodeToken& t : code_tokens(f.language, f.content)) {
    const bool docs = t.kind == CodeKind::kComment || (f.language == "python" && t.kind == CodeKind::kString);
    // Comments of one line that follow one another are one text.
    const bool goes_on = docs && end && std::count(end, t.text.data(), '\n') <= 1;
    if (!block.empty() && !goes_on) {
      if (!is_license(block) && !first_sentence(block).empty()) return first_sentence(block);
      block.clear();
    }
    if (!docs) break;
    if (!t.text.starts_with("#!")) block += std::string(t.text) + "\n", end = t.text.data() + t.text.size();
  }
  return is_license(block) ? "" : first_sentence(block);
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) out += (i ? ", " : "") + names[i];
  return names.size() > kMostNames ? out + cat(" and ", names.size() - kMostNames, " more") : out;
}

// Names in the order of the text.
std::vector<std::string> definitions_of(const RepositoryFile& f) {
  std::set<std::string_view> names = defined_names(f.language, f.content);
  std::vector<std::string> out;
  for (const CodeToken& t : code_tokens(f.language, f.content))
    if (t.kind == CodeKind::kIdentifier && names.erase(t.text)) out.emplace_back(t.text);
  return out;
}

}  // namespace

std::string describe_file(const RepositoryFile& f) {
  if (f.language.empty()) return "";
  std::string language = f.language;
  language[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(language[0])));
  std::string out = cat(language, ", ", std::count(f.content.begin(), f.content.end(), '\n'), " lines.");
  if (const std::string words = own_words(f); !words.empty()) out += " " + words;
  if (const auto names = definitions_of(f); !names.empty()) out += " Defines " + list_of(names) + ".";
  return out;
}

std::string describe_repository(const std::vector<RepositoryFile>& files, const std::vector<size_t>& order) {
  std::string out;
  std::map<std::string, int64_t> languages;
  std::vector<std::string> code;
  for (const size_t i : order) {
    const RepositoryFile& f = files[i];
    std::string name = f.path.substr(f.path.rfind('/') + 1);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    if (out.empty() && name.starts_with("readme")) out = first_sentence(f.content);
    if (f.language.empty()) continue;
    ++languages[f.language];
    code.push_back(f.path);
  }
  if (!out.empty()) out += " ";
  std::vector<std::string> counts;
  for (const auto& [language, n] : languages) counts.push_back(cat(n, " in ", language));
  out += cat(files.size(), " files", counts.empty() ? "" : ", ", list_of(counts), ".");
  if (code.size() > kMostFiles) code.resize(kMostFiles);
  for (const std::string& path : code) out += "\n- " + path;
  return out;
}

}  // namespace puyu
