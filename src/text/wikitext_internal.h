// The passes of wikitext_to_text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/wikitext.h"

namespace puyu {

// Text that no later pass may touch stands aside: \x02 NUMBER \x03 in its place.
struct WikiAside {
  std::vector<std::string> texts;
  std::string put(std::string text);
  std::string restore(std::string_view text) const;
};

// Comments, references and galleries out, formulae and code aside, other tags resolved or dropped.
std::string wiki_without_tags(std::string_view source, WikiAside& aside);
// Templates out, links to their labels, quotes and entities resolved. The lines stay.
std::string wiki_without_links(std::string_view source, const WikiOptions& options);
// Headings, lists and tables, line by line.
std::string wiki_lines(std::string_view source);

}  // namespace puyu
