// Headings, lists and tables of wikitext: what the beginnings of its lines say.
#include <algorithm>
#include <array>
#include <string_view>

#include "text/wikitext_internal.h"

namespace puyu {
namespace {

// Sections that hold no text of the article: sources and lists of links.
constexpr std::string_view kListing[] = {
    "references",   "notes",    "external links", "see also",  "further reading",
    "bibliography", "sources",  "citations",      "footnotes", "notes and references",
    "参考文献",     "参考资料", "參考文獻",       "參考資料",  "外部链接",
    "外部連結",     "参见",     "參見",           "注释",      "註釋",
    "注解",         "延伸阅读", "延伸閱讀",       "脚注",      "腳註",
    "相关条目",     "相關條目", "扩展阅读",       "来源",      "來源"};

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

std::string_view trim(std::string_view s) {
  const size_t from = s.find_first_not_of(" \t");
  return from == std::string_view::npos ? std::string_view{} : s.substr(from, s.find_last_not_of(" \t") - from + 1);
}

struct Section {
  size_t level = 0;  // 0: before the first heading
  std::string title, body;
};

// "== title ==": its level, or 0.
size_t heading_level(std::string_view line, std::string_view& title) {
  line = trim(line);
  const size_t left = std::min(line.find_first_not_of('='), line.size());
  const size_t end = line.find_last_not_of('=');
  if (left == 0 || left == line.size() || end == std::string_view::npos) return 0;
  const size_t right = line.size() - 1 - end;
  const size_t level = std::min({left, right, size_t{6}});
  if (level) title = trim(line.substr(level, line.size() - 2 * level));
  return level;
}

// Parentheses that a template has left empty: "Berlin ( ; ) is".
std::string without_empty_parentheses(std::string_view line) {
  constexpr std::pair<std::string_view, std::string_view> kPairs[] = {{"(", ")"}, {"（", "）"}};
  std::string out;
  for (size_t i = 0; i < line.size();) {
    bool cut = false;
    for (const auto& [open, close] : kPairs) {
      if (!line.substr(i).starts_with(open)) continue;
      size_t k = i + open.size();
      for (bool filler = true; filler && k < line.size();) {
        filler = false;
        for (std::string_view f : {" ", ";", ",", ":", "；", "，", "、", "："})
          if (line.substr(k).starts_with(f)) k += f.size(), filler = true;
      }
      if (!line.substr(k).starts_with(close)) continue;
      while (out.ends_with(' ')) out.pop_back();
      i = k + close.size(), cut = true;
      break;
    }
    if (!cut) out += line[i++];
  }
  return out;
}

class LinePass {
 public:
  std::string run(std::string_view source) {
    sections_.emplace_back();
    while (!source.empty()) {
      const size_t end = std::min(source.find('\n'), source.size());
      add(source.substr(0, end));
      source.remove_prefix(std::min(end + 1, source.size()));
    }
    end_row();
    return join();
  }

 private:
  static constexpr size_t kMostDepth = 8;

  void add(std::string_view line) {
    const std::string_view bare = trim(line);
    if (bare.starts_with("{|")) {
      end_row(), ++tables_;
      return block();
    }
    if (tables_ > 0) return add_table_line(bare);
    std::string_view title;
    if (const size_t level = bare.starts_with('=') ? heading_level(bare, title) : 0) {
      std::fill(counts_.begin(), counts_.end(), 0);
      sections_.push_back({level, without_empty_parentheses(title), ""});
      return;
    }
    const size_t marks = std::min(line.find_first_not_of("*#:;"), line.size());
    if (marks > 0) return add_item(line, std::min(marks, kMostDepth), trim(line.substr(marks)));
    std::fill(counts_.begin(), counts_.end(), 0);
    if (bare.starts_with("----")) return block();
    put_line(bare);
  }

  void add_item(std::string_view line, size_t depth, std::string_view text) {
    if (text.empty()) return;
    const char mark = line[depth - 1];
    std::fill(counts_.begin() + static_cast<int>(mark == '#' ? depth : depth - 1), counts_.end(), 0);
    std::string prefix = mark == '*' ? "- " : "";
    if (mark == '#') prefix = std::to_string(++counts_[depth - 1]) + ". ";
    put_line(prefix + std::string(text));
  }

  void add_table_line(std::string_view line) {
    if (line.starts_with("|}")) {
      end_row(), --tables_;
      if (tables_ == 0) block();
    } else if (line.starts_with("|-")) {
      end_row();
    } else if (line.starts_with("|+")) {
      end_row();
      add_cell(line.substr(2));
      end_row();
    } else if (line.starts_with('|') || line.starts_with('!')) {
      const bool header = line[0] == '!';
      line.remove_prefix(1);
      for (size_t at = 0; at <= line.size();) {
        size_t end = std::min(line.find("||", at), line.size());
        if (header) end = std::min(end, std::min(line.find("!!", at), line.size()));
        add_cell(line.substr(at, end - at));
        at = end + 2;
      }
    } else if (!line.empty() && !row_.empty()) {  // a cell of several lines
      const std::string_view text = trim(line.substr(std::min(line.find_first_not_of("*#:;"), line.size())));
      if (!row_.back().empty() && !text.empty()) row_.back() += ' ';
      row_.back() += text;
    }
  }
  // "style=... | text"
  void add_cell(std::string_view cell) {
    const size_t bar = cell.find('|');
    if (bar != std::string_view::npos && cell.substr(0, bar).find('=') != std::string_view::npos)
      cell.remove_prefix(bar + 1);
    row_.emplace_back(trim(cell));
  }
  void end_row() {
    std::string out;
    for (const std::string& cell : row_)
      if (!cell.empty()) out += (out.empty() ? "" : " | ") + cell;
    row_.clear();
    if (!out.empty()) put_line(out);
  }

  void put_line(std::string_view line) { sections_.back().body += without_empty_parentheses(line) + "\n"; }
  void block() { sections_.back().body += "\n"; }

  // Without sections that only list, with all below them, and without headings that have nothing left below them.
  std::string join() {
    std::vector<bool> keep(sections_.size());
    size_t hidden = 0;  // the level of the listing section we are in
    for (size_t i = 0; i < sections_.size(); ++i) {
      const Section& s = sections_[i];
      if (hidden && s.level > hidden) continue;
      hidden = std::find(std::begin(kListing), std::end(kListing), lower(s.title)) != std::end(kListing) ? s.level : 0;
      keep[i] = hidden == 0;
    }
    std::array<bool, 8> full{};  // has the part behind, of this level or deeper, text?
    for (size_t i = sections_.size(); i-- > 0;) {
      const Section& s = sections_[i];
      if (!keep[i]) continue;
      bool text = s.body.find_first_not_of(" \n") != std::string::npos;
      for (size_t deeper = s.level + 1; deeper < full.size(); ++deeper)
        text = text || full[deeper], full[deeper] = false;
      keep[i] = text, full[s.level] = full[s.level] || text;
    }
    std::string out;
    for (size_t i = 0; i < sections_.size(); ++i) {
      if (!keep[i]) continue;
      const std::string& body = sections_[i].body;
      if (!sections_[i].title.empty()) out += "\n" + sections_[i].title + "\n\n";
      out += body;
    }
    return squeezed(out);
  }
  // One blank line at most, none at the ends.
  static std::string squeezed(std::string_view text) {
    std::string out;
    for (char c : text)
      if (c != '\n' || (!out.empty() && !out.ends_with("\n\n"))) out += c;
    while (out.ends_with('\n')) out.pop_back();
    return out.empty() ? out : out + "\n";
  }

  std::vector<Section> sections_;
  std::vector<std::string> row_;
  std::array<int, kMostDepth> counts_{};
  size_t tables_ = 0;
};

}  // namespace

std::string wiki_lines(std::string_view source) { return LinePass().run(source); }

}  // namespace puyu
