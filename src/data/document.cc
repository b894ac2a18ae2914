#include "data/document.h"

#include <simdjson.h>

#include <array>
#include <cctype>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"

namespace puyu {
namespace {

constexpr std::pair<std::string_view, std::string_view> kCode[] = {
    {"c", "c"},           {"h", "cpp"},          {"cc", "cpp"},        {"cpp", "cpp"},    {"cxx", "cpp"},
    {"hpp", "cpp"},       {"hh", "cpp"},         {"tcc", "cpp"},       {"cu", "cpp"},     {"py", "python"},
    {"js", "javascript"}, {"mjs", "javascript"}, {"ts", "typescript"}, {"go", "go"},      {"rs", "rust"},
    {"java", "java"},     {"sh", "shell"},       {"bash", "shell"},    {"pl", "perl"},    {"pm", "perl"},
    {"rb", "ruby"},       {"php", "php"},        {"lua", "lua"},       {"sql", "sql"},    {"cs", "csharp"},
    {"kt", "kotlin"},     {"swift", "swift"},    {"scala", "scala"},   {"hs", "haskell"}, {"cmake", "cmake"}};

constexpr const char* kMonths[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};

// A string field by the first of its names that is there.
std::string text_field(const simdjson::dom::object& o, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::string_view v;
    if (o[name].get(v) == simdjson::SUCCESS) return std::string(v);
  }
  return "";
}

}  // namespace

std::string document_id(std::string_view source, std::string_view path, size_t index) {
  std::string key(source);
  key += '\0', key += path, key += '\0', key += std::to_string(index);
  Hash128 h = hash128(key);
  char hex[33];
  std::snprintf(hex, sizeof hex, "%016llx%016llx", static_cast<unsigned long long>(h.hi),
                static_cast<unsigned long long>(h.lo));
  return hex;
}

bool is_document_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

uint32_t date_number(const std::string& iso) {
  int y = 0, m = 0, d = 0;
  std::sscanf(iso.c_str(), "%4d-%2d-%2d", &y, &m, &d);
  return static_cast<uint32_t>(y * 10000 + m * 100 + d);
}

Hash128 parse_id(const std::string& hex) {
  Hash128 h{};
  unsigned long long hi = 0, lo = 0;
  std::sscanf(hex.c_str(), "%16llx%16llx", &hi, &lo);
  h.hi = hi, h.lo = lo;
  return h;
}

std::string to_json_line(const Document& d) {
  Json scores = Json::object();
  for (const auto& [name, value] : d.scores) scores[name] = value;
  Json::Object o = {{"id", d.id},     {"content", d.content}, {"title", d.title}, {"language", d.language},
                    {"date", d.date}, {"source", d.source},   {"url", d.url},     {"scores", std::move(scores)}};
  return Json(std::move(o)).dump() + "\n";
}

std::optional<Document> parse_document(std::string_view line, std::string& reason) {
  static thread_local simdjson::dom::parser parser;
  std::string repaired;
  if (!valid_utf8(line)) line = repaired = repair_utf8(line);
  simdjson::dom::object o;
  if (parser.parse(line.data(), line.size()).get(o) != simdjson::SUCCESS) {
    reason = "bad_json";
    return std::nullopt;
  }
  Document d;
  std::string_view content;
  if (o["content"].get(content) != simdjson::SUCCESS && o["text"].get(content) != simdjson::SUCCESS) {
    reason = "no_text_field";
    return std::nullopt;
  }
  d.content = content;
  d.id = text_field(o, {"id"});
  d.title = text_field(o, {"title"});
  d.language = text_field(o, {"language", "lang"});
  d.date = text_field(o, {"date", "timestamp"});
  d.source = text_field(o, {"source"});
  d.url = text_field(o, {"url"});
  simdjson::dom::object scores;
  if (o["scores"].get(scores) == simdjson::SUCCESS)
    for (auto [name, value] : scores) {
      double v = 0;
      if (value.get(v) == simdjson::SUCCESS) d.scores[std::string(name)] = v;
    }
  return d;
}

std::string code_language(std::string_view file_name, std::string_view bytes) {
  file_name = file_name.substr(file_name.rfind('/') + 1);
  size_t dot = file_name.rfind('.');
  if (dot == std::string_view::npos) {
    std::string_view line = bytes.substr(0, std::min<size_t>(bytes.find('\n'), 200));
    if (line.find("-*- C++ -*-") != std::string_view::npos) return "cpp";
    if (!line.starts_with("#!")) return "";
    return line.find("python") != std::string_view::npos ? "python"
           : line.find("perl") != std::string_view::npos ? "perl"
                                                         : "shell";
  }
  for (auto& [ending, language] : kCode)
    if (file_name.substr(dot + 1) == ending) return std::string(language);
  return "";
}

std::string language_group(std::string_view language) {
  if (language == "en" || language == "zh") return std::string(language);
  if (language == "code") return "code";
  for (auto& entry : kCode)
    if (language == entry.second) return "code";
  return "other";
}

std::string iso_date(std::string_view text) {
  int year = 0, month = 0, day = 0;
  std::vector<int> numbers;
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if (std::isdigit(c)) {
      int v = 0, digits = 0;
      for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i, ++digits)
        v = digits < 8 ? v * 10 + (text[i] - '0') : v;
      if (digits == 4 && !year && v >= 1970 && v < 2100)
        year = v;
      else if (digits <= 2)
        numbers.push_back(v);
    } else if (std::isalpha(c)) {
      std::string word;
      for (; i < text.size() && std::isalpha(static_cast<unsigned char>(text[i])); ++i)
        word += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
      for (int m = 0; m < 12 && !month; ++m)
        if (word.starts_with(kMonths[m])) month = m + 1;
    } else {
      ++i;
    }
    if (year && numbers.size() >= 2) break;  // a time of day may follow
  }
  if (!year) return "";
  size_t next = 0;
  if (!month && next < numbers.size()) month = numbers[next++];
  if (next < numbers.size()) day = numbers[next];
  char out[32];
  if (month < 1 || month > 12)
    std::snprintf(out, sizeof out, "%04d", year);
  else if (day < 1 || day > 31)
    std::snprintf(out, sizeof out, "%04d-%02d", year, month);
  else
    std::snprintf(out, sizeof out, "%04d-%02d-%02d", year, month, day);
  return out;
}

}  // namespace puyu
