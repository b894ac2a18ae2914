// The article's text: blocks in document order (paragraphs, headings, list items, table rows, code), those that are no
// part of it left out, joined to plain text. Lists keep their marks, tables their cells, code its lines, formulae their
// TeX.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/html_main.h"

namespace puyu {

enum class BlockKind { kParagraph, kHeading, kItem, kRow, kCode, kOther };

struct HtmlBlock {
  std::string text;
  size_t link_bytes = 0;
  BlockKind kind = BlockKind::kOther;
  uint32_t list = 0;      // the node of the list an item belongs to; 0: none
  bool is_title = false;  // an <h1>
};

std::vector<HtmlBlock> collect_blocks(const HtmlTree& tree, const MainContent& main);
// The blocks of the article; `title` is the page's, which is not said again.
std::string join_blocks(std::vector<HtmlBlock> blocks, std::string_view title);

}  // namespace puyu
