#include "text/html_tree.h"

#include <algorithm>
#include <csetjmp>
#include <string>

namespace puyu {
namespace {

constexpr size_t kMaxMemory = size_t{128} << 20;  // of the parse tree

}  // namespace

// gumbo's memory. Nothing is freed before the end, so its recursive destructor is not needed, and a page that grows
// beyond the bound leaves the parser through longjmp (C code on the way: nothing to unwind).
struct HtmlTree::Arena {
  std::vector<std::unique_ptr<char[]>> blocks;
  size_t used = 0, left = 0;
  char* at = nullptr;
  jmp_buf out_of_memory;

  static void* allocate(void* self, size_t n) { return static_cast<Arena*>(self)->take(n); }
  static void release(void*, void*) {}
  void* take(size_t n) {
    n = (n + 15) / 16 * 16;
    if (n > left) {
      size_t block = std::max(n, size_t{1} << 18);
      if (n > kMaxMemory || (used += block) > kMaxMemory) longjmp(out_of_memory, 1);
      blocks.push_back(std::make_unique_for_overwrite<char[]>(block));
      at = blocks.back().get(), left = block;
    }
    char* p = at;
    at += n, left -= n;
    return p;
  }
};

HtmlTree::HtmlTree(std::string_view html, std::string& problem) : arena_(std::make_unique<Arena>()) {
  GumboOptions options = kGumboDefaultOptions;
  options.allocator = Arena::allocate, options.deallocator = Arena::release, options.userdata = arena_.get();
  options.max_errors = 0;
  if (setjmp(arena_->out_of_memory)) {
    problem = "too_complex";
    return;
  }
  const GumboOutput* tree = gumbo_parse_with_options(&options, html.data(), html.size());
  flatten(tree->root);
}

HtmlTree::~HtmlTree() = default;

void HtmlTree::flatten(const GumboNode* root) {
  struct Frame {
    const GumboNode* node;
    unsigned next;
    uint32_t index;
  };
  std::vector<Frame> stack;
  auto enter = [&](const GumboNode* n, uint32_t parent) {
    auto index = static_cast<uint32_t>(nodes_.size());
    if (n->type == GUMBO_NODE_ELEMENT) {
      nodes_.push_back({&n->v.element, {}, parent, index + 1, n->v.element.tag});
      stack.push_back({n, 0, index});
    } else if (n->type == GUMBO_NODE_TEXT || n->type == GUMBO_NODE_WHITESPACE || n->type == GUMBO_NODE_CDATA) {
      nodes_.push_back({nullptr, n->v.text.text, parent, index + 1, GUMBO_TAG_LAST});
    }
  };
  enter(root, 0);
  while (!stack.empty()) {
    Frame& f = stack.back();
    const GumboVector& children = f.node->v.element.children;
    if (f.next == children.length) {
      nodes_[f.index].end = static_cast<uint32_t>(nodes_.size());
      stack.pop_back();
      continue;
    }
    auto* child = static_cast<const GumboNode*>(children.data[f.next++]);
    enter(child, f.index);
  }
}

std::string_view HtmlTree::attribute(const HtmlNode& n, const char* name) {
  const GumboAttribute* a = n.element ? gumbo_get_attribute(&n.element->attributes, name) : nullptr;
  return a ? std::string_view(a->value) : std::string_view{};
}

bool HtmlTree::has_attribute(const HtmlNode& n, const char* name) {
  return n.element && gumbo_get_attribute(&n.element->attributes, name);
}

std::string HtmlTree::flat_text(uint32_t i) const {
  std::string out;
  for (uint32_t k = i; k < nodes_[i].end; ++k)
    for (char c : nodes_[k].text) {
      bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
      if (!space)
        out += c;
      else if (!out.empty() && out.back() != ' ')
        out += ' ';
    }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

bool is_block_tag(GumboTag t) {
  switch (t) {
    case GUMBO_TAG_P:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_UL:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_TR:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TH:
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_HR:
    case GUMBO_TAG_BODY:
      return true;
    default:
      return false;
  }
}

}  // namespace puyu
