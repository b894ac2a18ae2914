// MediaWiki's markup to plain text: paragraphs, headings on lines of their own, list items ("- ", "1. "), table rows
// ("a | b"), formulae as $TeX$ and code as it stands. Templates, comments, references, files, categories and the
// sections that only list sources or links are left out, and so are headings under which nothing is left. Templates are
// not expanded, so any input ends in time linear in its length.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

struct WikiOptions {
  // Links into these namespaces are no text; English and Chinese names besides.
  std::vector<std::string> hidden_namespaces;
};

std::string wikitext_to_text(std::string_view source, const WikiOptions& options = {});

}  // namespace puyu
