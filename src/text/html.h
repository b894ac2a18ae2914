// The main content of a web page: headings, paragraphs, lists, tables and code as text; navigation, forms, scripts,
// adverts and link lists left out. Pages are hostile: bytes, nesting and memory are bounded before and while parsing.
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
