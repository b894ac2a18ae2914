// What a page says about itself: title, date, language; from <meta>, linked data, <time> and <title>.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/html.h"
#include "text/html_tree.h"

namespace puyu {

void read_meta(const HtmlTree& tree, const std::vector<std::string_view>& linked_data, HtmlPage& page);

// The longest "articleBody" of the linked data, or "".
std::string linked_article(const std::vector<std::string_view>& linked_data);

}  // namespace puyu
