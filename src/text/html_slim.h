// A page without what extraction never looks at: scripts, styles, comments, drawings and attributes of no meaning here
// are left out before the parser sees them. That is most bytes of most pages, and it takes from hostile pages what they
// are slow with: thousands of attributes on a tag, deep nesting. Tags keep their order and their errors.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

struct SlimPage {
  std::string html;
  std::vector<std::string_view> linked_data;  // <script type="application/ld+json">, views into the given page
  // Not empty: not worth parsing, and html is cut short. "too_deep": open elements beyond the bound, by a cheap upper
  // estimate; "too_complex": more work for the parser than a page may cost.
  const char* problem = "";
};

SlimPage slim_html(std::string_view page);

}  // namespace puyu
