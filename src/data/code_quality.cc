#include "data/code_quality.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/code_tokens.h"

namespace puyu {
namespace {

constexpr size_t kHeadLines = 20;
constexpr const char* kClasses[] = {"low", "moderate", "high"};

struct CodeStats {
  double lines = 0, mean_line = 0, longest_line = 0, comments = 0, strings = 0, numbers = 0, token_bytes = 0;
  std::string head_comments;  // in lower case
};

void measure_lines(std::string_view text, CodeStats& s) {
  double bytes = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    s.lines += 1, bytes += static_cast<double>(line.size());
    s.longest_line = std::max(s.longest_line, static_cast<double>(line.size()));
  }
  s.mean_line = s.lines > 0 ? bytes / s.lines : 0;
}

size_t head_bytes(std::string_view text) {
  size_t at = 0;
  for (size_t line = 0; line < kHeadLines && at < text.size(); ++line)
    at = std::min(text.find('\n', at), text.size()) + 1;
  return at;
}

CodeStats measure_code(std::string_view language, std::string_view text) {
  CodeStats s;
  measure_lines(text, s);
  const char* head_end = text.data() + std::min(head_bytes(text), text.size());
  double all = 0, tokens = 0, code = 0, words = 0;
  for (const CodeToken& t : code_tokens(language, text)) {
    const auto bytes = static_cast<double>(t.text.size());
    all += bytes;
    if (t.kind == CodeKind::kComment) {
      s.comments += bytes;
      for (size_t i = 0; i < t.text.size() && t.text.data() + i < head_end; ++i)
        s.head_comments += static_cast<char>(std::tolower(static_cast<unsigned char>(t.text[i])));
      s.head_comments += '\n';
      continue;
    }
    tokens += 1, code += bytes;
    if (t.kind == CodeKind::kOperator) continue;
    words += 1;
    if (t.kind == CodeKind::kNumber) s.numbers += 1;
    if (t.kind == CodeKind::kString) s.strings += bytes;
  }
  auto share = [](double part, double whole) { return whole > 0 ? part / whole : 0; };
  s.comments = share(s.comments, all), s.strings = share(s.strings, all), s.numbers = share(s.numbers, words);
  s.token_bytes = share(code, tokens);
  return s;
}

}  // namespace

const char* name_of(CodeClass c) { return kClasses[static_cast<size_t>(c)]; }

Verdict judge_code(std::string_view language, std::string_view text, const CodeRules& r) {
  const CodeStats s = measure_code(language, text);
  struct Bound {
    const char* rule;
    double value, limit;
    bool least;
  };
  for (const Bound& b : {Bound{"min_lines", s.lines, r.min_lines, true},
                         {"max_lines", s.lines, r.max_lines, false},
                         {"max_longest_line", s.longest_line, r.max_longest_line, false},
                         {"max_mean_line", s.mean_line, r.max_mean_line, false},
                         {"min_comments", s.comments, r.min_comments, true},
                         {"max_comments", s.comments, r.max_comments, false},
                         {"max_numbers", s.numbers, r.max_numbers, false},
                         {"max_string_bytes", s.strings, r.max_string_bytes, false},
                         {"min_token_bytes", s.token_bytes, r.min_token_bytes, true}})
    if (b.least ? b.value < b.limit : b.value > b.limit) return {b.rule, b.value, b.limit};
  for (const std::string& mark : r.generated)
    if (s.head_comments.find(mark) != std::string::npos) return {"generated", 1, 0};
  return {};
}

bool asks_model(const CodeQualityOptions& o, std::string_view language) {
  return !o.model.empty() &&
         (o.languages.empty() || std::find(o.languages.begin(), o.languages.end(), language) != o.languages.end());
}

CodeVerdict classify_code(std::string_view language, std::string_view text, const CodeQualityOptions& o,
                          std::optional<double> score) {
  if (o.rules)
    if (Verdict v = judge_code(language, text, o.limits); !v.rule.empty()) return {CodeClass::kLow, std::move(v)};
  if (!score) return {};
  if (*score < o.low_below) return {CodeClass::kLow, {"model", *score, o.low_below}};
  return {*score > o.high_above ? CodeClass::kHigh : CodeClass::kModerate, {"model", *score, o.high_above}};
}

void check_options(const CodeQualityOptions& o) {
  if (!(o.low_below <= o.high_above))
    fail("[data] quality.code: expected low_below <= high_above, got ", o.low_below, " and ", o.high_above);
  for (const std::string& c : o.drop)
    if (std::find(std::begin(kClasses), std::end(kClasses), c) == std::end(kClasses))
      fail("[data] quality.code.drop: expected low, moderate or high, got '", c, "'");
  for (const std::string& mark : o.limits.generated)
    if (mark.empty() || std::any_of(mark.begin(), mark.end(), [](char c) { return c >= 'A' && c <= 'Z'; }))
      fail("[data] quality.code.limits.generated: expected text in lower case, got '", mark, "'");
}

}  // namespace puyu
