// A parsed page as a flat list of nodes in document order: the subtree of node i is [i, nodes[i].end). Passes over the
// tree are loops, so no page can overflow the stack.
#pragma once
#include <gumbo.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace puyu {

struct HtmlNode {
  const GumboElement* element = nullptr;  // null: text
  std::string_view text;
  uint32_t parent = 0, end = 0;
  GumboTag tag = GUMBO_TAG_LAST;  // of an element
  bool is(GumboTag t) const { return element && tag == t; }
};

class HtmlTree {
 public:
  // Parses; `problem` is "too_complex" when the tree would need more memory than is good for a page, and then empty.
  HtmlTree(std::string_view html, std::string& problem);
  ~HtmlTree();
  HtmlTree(const HtmlTree&) = delete;
  HtmlTree& operator=(const HtmlTree&) = delete;

  const std::vector<HtmlNode>& nodes() const { return nodes_; }
  // The value of an attribute; empty also when it is absent.
  static std::string_view attribute(const HtmlNode& n, const char* name);
  static bool has_attribute(const HtmlNode& n, const char* name);
  // All text below node i, runs of white space as one space.
  std::string flat_text(uint32_t i) const;

 private:
  struct Arena;
  void flatten(const GumboNode* root);
  std::unique_ptr<Arena> arena_;
  std::vector<HtmlNode> nodes_;
};

bool is_block_tag(GumboTag t);  // begins on a line of its own

}  // namespace puyu
