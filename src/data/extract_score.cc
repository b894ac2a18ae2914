#include "data/extract_score.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "data/charset.h"
#include "data/compress.h"
#include "text/html.h"
#include "text/unicode.h"

namespace puyu {
namespace {

// Runs of \w as Python's `re` has it for text: letters, digits, marks do not count, the underscore does.
std::vector<std::string_view> tokens_of(std::string_view s) {
  std::vector<std::string_view> out;
  size_t start = 0, length = 0;
  for (size_t i = 0; i <= s.size();) {
    char32_t c = 0;
    size_t n = i < s.size() ? decode_utf8(s, i, c) : 0;
    if (n && (c == '_' || is_letter(c) || is_numeric(c))) {
      if (length == 0) start = i;
      length += n;
    } else if (length) {
      out.push_back(s.substr(start, length));
      length = 0;
    }
    i += n ? n : 1;
  }
  return out;
}

std::map<std::string, double> shingles_of(const std::string& text, size_t n) {
  std::vector<std::string_view> tokens = tokens_of(text);
  std::map<std::string, double> out;
  size_t count = tokens.size() < n ? 1 : tokens.size() - n + 1;  // a short text is one short shingle
  for (size_t i = 0; i < count; ++i) {
    std::string key;
    for (size_t k = i; k < std::min(i + n, tokens.size()); ++k) key.append(tokens[k]) += ' ';
    ++out[key];
  }
  return out;
}

std::string page_file(const std::string& dir, const std::string& id) {
  for (const char* folder : {"/pages/", "/html/"})
    if (std::string path = dir + folder + id + ".html.gz"; file_exists(path)) return path;
  fail("[extract] ", dir, ": no pages/", id, ".html.gz beside the ground truth");
}

}  // namespace

ShingleScore score_shingles(const std::string& gold, const std::string& found, size_t n) {
  ShingleScore s;
  auto want = shingles_of(gold, n), got = shingles_of(found, n);
  for (const auto& [key, count] : want) {
    auto it = got.find(key);
    double both = it == got.end() ? 0 : std::min(count, it->second);
    s.tp += both, s.fn += count - both;
  }
  for (const auto& [key, count] : got) s.fp += count;
  s.fp -= s.tp;
  double sum = s.tp + s.fp + s.fn;
  return {s.tp / sum, s.fp / sum, s.fn / sum};
}

F1 mean_score(const ExtractScore& s, Half half) {
  double precision = 0, recall = 0, with_found = 0, with_gold = 0;
  for (size_t i = 0; i < s.pages.size(); ++i) {
    if (half != Half::kAll && (i % 2 == 0) != (half == Half::kDevelopment)) continue;
    const ShingleScore& p = s.pages[i].score;
    if (p.tp + p.fp > 0) precision += p.tp / (p.tp + p.fp), ++with_found;
    if (p.tp + p.fn > 0) recall += p.tp / (p.tp + p.fn), ++with_gold;
  }
  F1 f;
  f.precision = with_found > 0 ? precision / with_found : 0, f.recall = with_gold > 0 ? recall / with_gold : 0;
  f.f1 = f.precision + f.recall > 0 ? 2 * f.precision * f.recall / (f.precision + f.recall) : 0;
  return f;
}

ExtractScore score_extraction(const std::string& gold) {
  ExtractScore out;
  Json truth = Json::parse(read_file(gold), gold);
  std::string dir = gold.substr(0, gold.rfind('/') == std::string::npos ? 0 : gold.rfind('/'));
  if (dir.empty()) dir = ".";
  std::map<std::string, std::string> bodies;
  for (const auto& [id, page] : truth.as_object()) bodies[id] = page.at("articleBody").as_string();
  for (const auto& [id, body] : bodies) {
    std::string path = page_file(dir, id), bytes;
    InputStream in(path);
    in.read_all(bytes, size_t{64} << 20);
    if (!in.damage().empty()) fail("[extract] ", path, ": ", in.damage());
    auto begin = std::chrono::steady_clock::now();
    HtmlPage page = extract_html(decode_text(bytes, "", true).text);
    out.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    out.bytes += static_cast<int64_t>(bytes.size());
    out.pages.push_back({id, score_shingles(body, page.content)});
  }
  return out;
}

Json to_json(const ExtractScore& s) {
  Json j = Json::Object{{"pages", s.pages.size()}, {"html_bytes", s.bytes}, {"seconds", s.seconds}};
  for (auto [name, half] :
       {std::pair{"development", Half::kDevelopment}, {"held_out", Half::kHeldOut}, {"all", Half::kAll}}) {
    F1 f = mean_score(s, half);
    j[name] = Json::Object{{"f1", f.f1}, {"precision", f.precision}, {"recall", f.recall}};
  }
  Json scores = Json::object();
  for (const PageScore& p : s.pages)
    scores[p.id] = Json::Object{{"tp", p.score.tp}, {"fp", p.score.fp}, {"fn", p.score.fn}};
  j["scores"] = std::move(scores);
  return j;
}

std::string format_score(const ExtractScore& s) {
  std::string out = "                 F1  precision  recall\n";
  char line[96];
  for (auto [name, half] :
       {std::pair{"development", Half::kDevelopment}, {"held out", Half::kHeldOut}, {"all", Half::kAll}}) {
    F1 f = mean_score(s, half);
    std::snprintf(line, sizeof line, "%-12s  %.4f     %.4f  %.4f\n", name, f.f1, f.precision, f.recall);
    out += line;
  }
  std::snprintf(line, sizeof line, "%zu pages, %.1f MB of HTML at %.1f MB/s\n", s.pages.size(),
                static_cast<double>(s.bytes) / 1e6, static_cast<double>(s.bytes) / 1e6 / std::max(s.seconds, 1e-9));
  return out + line;
}

}  // namespace puyu
