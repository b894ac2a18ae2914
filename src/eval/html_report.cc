#include "eval/html_report.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "eval/html_chart.h"
#include "eval/html_style.h"

namespace puyu {
namespace {

bool begins_like_number(std::string_view s) {
  for (std::string_view sign : {"+", "-", "−", "±", "<", ">", "≥", "≤", "≈"})
    if (s.starts_with(sign)) s.remove_prefix(sign.size());
  return !s.empty() && ((s[0] >= '0' && s[0] <= '9') || (s[0] == '.' && s.size() > 1));
}

bool is_blank(std::string_view s) { return s.empty() || s == "–" || s == "-" || s == "nan" || s == "no data"; }

bool number_column(const Table& t, size_t column) {
  bool any = false;
  for (const auto& row : t.rows) {
    if (column >= row.size() || is_blank(row[column])) continue;
    if (!begins_like_number(row[column])) return false;
    any = true;
  }
  return any;
}

std::string caption(std::string_view text) {
  return text.empty() ? "" : cat("<caption>", escape_html(text), "</caption>\n");
}

std::string render(const Text& b) {
  std::string out;
  std::string_view rest = b.text;
  while (!rest.empty()) {
    size_t end = std::min(rest.find("\n\n"), rest.size());
    if (end > 0) out += cat("<p>", escape_html(rest.substr(0, end)), "</p>\n");
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return out;
}

std::string render(const Code& b) {
  std::string head = b.caption.empty() ? "" : cat("<h3>", escape_html(b.caption), "</h3>\n");
  return cat("<div class='block'>", head, "<pre><code>", escape_html(b.text), "</code></pre></div>\n");
}

std::string render(const Table& b) {
  size_t columns = b.header.size();
  for (const auto& row : b.rows) columns = std::max(columns, row.size());
  std::vector<const char*> kind(columns);
  for (size_t i = 0; i < columns; ++i) kind[i] = number_column(b, i) ? " class='num'" : "";
  auto line = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string out = "<tr>";
    for (size_t i = 0; i < columns; ++i)
      out += cat("<", tag, kind[i], ">", i < cells.size() ? escape_html(cells[i]) : "", "</", tag, ">");
    return out + "</tr>\n";
  };
  std::string out = cat("<div class='block scroll'><table class='data'>\n", caption(b.caption));
  if (!b.header.empty()) out += cat("<thead>", line(b.header, "th"), "</thead>\n");
  for (const auto& row : b.rows) out += line(row, "td");
  return out + "</table></div>\n";
}

std::string render(const LineChart& b) { return render_chart(b); }
std::string render(const BarChart& b) { return render_chart(b); }

std::string render(const Transcript::Answer& a) {
  std::string out = "<td>";
  if (a.mark == Transcript::Mark::kRight) out += "<span class='mark right' title='right'>✓</span>";
  if (a.mark == Transcript::Mark::kWrong) out += "<span class='mark wrong' title='wrong'>✗</span>";
  return out + (a.text.empty() ? "<span class='none'>(empty)</span>" : escape_html(a.text)) + "</td>";
}

std::string render(const Transcript& b) {
  std::string out = cat("<div class='block scroll'><table class='talk'>\n", caption(b.caption), "<thead><tr><th></th>");
  for (const auto& stage : b.stages) out += cat("<th>", escape_html(stage), "</th>");
  out += "</tr></thead>\n";
  for (const auto& row : b.rows) {
    out += cat("<tr><td>", escape_html(row.question));
    if (!row.expected.empty()) out += cat("<span class='want'>→ ", escape_html(row.expected), "</span>");
    out += "</td>";
    for (size_t i = 0; i < b.stages.size(); ++i) out += i < row.answers.size() ? render(row.answers[i]) : "<td>–</td>";
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string render_head(const HtmlReport& r) {
  return cat("<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n",
             "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
             "<meta name='viewport' content='width=device-width, initial-scale=1'>\n<title>", escape_html(r.title),
             "</title>\n<style>", kReportStyle, "</style>\n</head>\n");
}

std::string render_top(const HtmlReport& r) {
  std::string out = cat("<h1>", escape_html(r.title), "</h1>\n");
  if (!r.subtitle.empty()) out += cat("<p class='sub'>", escape_html(r.subtitle), "</p>\n");
  if (r.sections.size() > 2) {
    out += "<nav>";
    for (size_t i = 0; i < r.sections.size(); ++i)
      out += cat("<a href='#s", i + 1, "'>", escape_html(r.sections[i].title), "</a>");
    out += "</nav>\n";
  }
  if (r.numbers.empty()) return out;
  out += "<div class='cards'>\n";
  for (const auto& n : r.numbers) {
    out += cat("<div class='card'><span>", escape_html(n.label), "</span><b>", escape_html(n.value), "</b>");
    if (!n.note.empty()) out += cat("<span>", escape_html(n.note), "</span>");
    out += "</div>\n";
  }
  return out + "</div>\n";
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string valid = repair_utf8(text), out;
  out.reserve(valid.size());
  for (char c : valid) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default: {
        bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        if (control)
          out += "\xEF\xBF\xBD";
        else
          out += c;
      }
    }
  }
  return out;
}

std::string render_html(const HtmlReport& r) {
  std::string out = render_head(r) + "<body>\n<main>\n" + render_top(r);
  for (size_t i = 0; i < r.sections.size(); ++i) {
    out += cat("<section>\n<h2 id='s", i + 1, "'>", escape_html(r.sections[i].title), "</h2>\n");
    for (const ReportBlock& block : r.sections[i].blocks)
      out += std::visit([](const auto& b) { return render(b); }, block);
    out += "</section>\n";
  }
  if (!r.footer.empty()) out += cat("<footer>", escape_html(r.footer), "</footer>\n");
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace puyu
