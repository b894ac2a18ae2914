// Where the article of a page is: which parts are boilerplate by their element, name or state, and which element holds
// the text. What counts is prose: text of blocks that are long enough, are not mostly links and hold punctuation.
#pragma once
#include <cstdint>
#include <vector>

#include "text/html_tree.h"

namespace puyu {

struct MainContent {
  uint32_t root = 0;          // the node whose subtree holds the article
  std::vector<char> dropped;  // by node: it and all below are not part of it
};

// False when the page has no body. Without believe_names only what no reader sees (scripts, buttons, …) is dropped: for
// pages whose names mislead.
bool find_main_content(const HtmlTree& tree, bool believe_names, MainContent& out);

}  // namespace puyu
