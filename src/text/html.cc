#include "text/html.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/html_blocks.h"
#include "text/html_meta.h"
#include "text/html_slim.h"

namespace puyu {
namespace {

constexpr size_t kMaxBytes = size_t{4} << 20;
constexpr size_t kTooLittle = 250;  // bytes of text: look again without believing names

std::string main_text(const HtmlTree& tree, bool believe_names, const std::string& title) {
  MainContent main;
  return find_main_content(tree, believe_names, main) ? join_blocks(collect_blocks(tree, main), title) : "";
}

}  // namespace

HtmlPage extract_html(std::string_view bytes) {
  HtmlPage page;
  if (bytes.size() > kMaxBytes) return page.problem = "too_large", page;
  std::string repaired;
  if (!valid_utf8(bytes)) bytes = repaired = repair_utf8(bytes);
  SlimPage slim = slim_html(bytes);
  if (*slim.problem) return page.problem = slim.problem, page;
  HtmlTree tree(slim.html, page.problem);
  if (!page.problem.empty()) return page;
  read_meta(tree, slim.linked_data, page);
  page.content = main_text(tree, true, page.title);
  if (page.content.size() < kTooLittle) {  // names that mislead, or a text that lies in the linked data only
    std::string stated = linked_article(slim.linked_data);
    std::string all = main_text(tree, false, page.title);
    if (all.size() > 4 * page.content.size()) page.content = std::move(all);
    if (stated.size() > 2 * std::max(page.content.size(), kTooLittle)) page.content = std::move(stated);
  }
  // gumbo lets numeric references beyond Unicode (&#9223372036854775;) through as broken UTF-8.
  page.content = repair_utf8(page.content);
  page.title = repair_utf8(page.title), page.date = repair_utf8(page.date);
  page.language = repair_utf8(page.language);
  return page;
}

}  // namespace puyu
