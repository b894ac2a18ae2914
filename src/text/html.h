// The main content of a web page: headings, paragraphs, lists, tables, code and formulae as text; navigation, forms,
// scripts, adverts, comments and link lists left out, and the title, which stands apart. Four passes: slim_html takes
// out what is never looked at, gumbo parses (html_tree.h), html_main.h finds the article, html_blocks.h makes its text.
// Pages are hostile: bytes, nesting and the parser's work are bounded before it sees them, its memory while it runs.
#pragma once
#include <string>
#include <string_view>

namespace puyu {

struct HtmlPage {
  std::string title;
  std::string date;      // from <meta> or <time>, as the page gives it
  std::string language;  // <html lang>, as the page gives it
  std::string content;
  std::string problem;  // not empty: not read, and why: "too_large", "too_deep", "too_complex"
};

HtmlPage extract_html(std::string_view bytes);

}  // namespace puyu
