#include "text/html.h"

#include <gumbo.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/utf8.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr size_t kMaxBytes = size_t{4} << 20;
constexpr size_t kMaxMemory = size_t{512} << 20;  // of the parse tree
constexpr int kMaxDepth = 512;

// gumbo's memory. Nothing is freed before the end, so its recursive destructor is not needed, and a page that grows
// beyond the bound leaves the parser through longjmp (C code on the way: nothing to unwind).
struct Arena {
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

// A cheap upper estimate of nesting: open tags that the parser does not close by itself.
bool too_deep(std::string_view s) {
  constexpr std::string_view kSelfClosing[] = {
      "p",   "li",    "dt",    "dd",    "option", "tr",   "td",   "th",    "br",       "hr",
      "img", "input", "meta",  "link",  "area",   "base", "col",  "embed", "source",   "track",
      "wbr", "param", "tbody", "thead", "tfoot",  "html", "head", "body",  "colgroup", "optgroup"};
  int depth = 0, foreign = 0;
  for (size_t i = s.find('<'); i != std::string_view::npos; i = s.find('<', i + 1)) {
    bool close = i + 1 < s.size() && s[i + 1] == '/';
    size_t from = i + 1 + close, end = from;
    std::string name;
    while (end < s.size() && end - from < 16 && ((s[end] | 0x20) >= 'a' && (s[end] | 0x20) <= 'z'))
      name += static_cast<char>(s[end++] | 0x20);
    if (name.empty()) continue;
    bool self =
        foreign == 0 && std::find(std::begin(kSelfClosing), std::end(kSelfClosing), name) != std::end(kSelfClosing);
    if (name == "svg" || name == "math") foreign = std::max(0, foreign + (close ? -1 : 1));
    if (self) continue;
    size_t tag_end = s.find('>', end);
    bool empty = tag_end != std::string_view::npos && tag_end > 0 && s[tag_end - 1] == '/' && foreign > 0;
    if (!empty) depth = std::max(0, depth + (close ? -1 : 1));
    if (depth > kMaxDepth) return true;
  }
  return false;
}

std::string_view attribute(const GumboElement& e, const char* name) {
  const GumboAttribute* a = gumbo_get_attribute(&e.attributes, name);
  return a ? std::string_view(a->value) : std::string_view{};
}

bool is_skipped(GumboTag t) {
  switch (t) {
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_SVG:
    case GUMBO_TAG_BUTTON:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_TEXTAREA:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_HEAD:
      return true;
    default:
      return false;
  }
}

bool is_block(GumboTag t) {
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
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_HR:
    case GUMBO_TAG_BODY:
      return true;
    default:
      return false;
  }
}

bool is_heading(GumboTag t) { return t >= GUMBO_TAG_H1 && t <= GUMBO_TAG_H6; }

// Names that designers give to what is not the article.
bool is_boilerplate_name(std::string_view names) {
  std::string s(names);
  for (char& c : s) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  for (const char* word :
       {"sidebar",   "comment", "share",      "social",     "related", "breadcrumb", "menu",    "cookie",
        "footer",    "navbar",  "navigation", "newsletter", "promo",   "advert",     "sponsor", "subscribe",
        "recommend", "popup",   "modal",      "pagination", "caption", "byline"})
    if (s.find(word) != std::string::npos) return true;
  return false;
}

struct Block {
  std::string text;
  size_t link_bytes = 0;
  GumboTag tag = GUMBO_TAG_DIV;
  bool preformatted = false;
};

// Walks the tree without recursion and collects blocks of text.
class Collector {
 public:
  std::vector<Block> blocks;

  void walk(const GumboNode* root) {
    struct Frame {
      const GumboNode* node;
      unsigned next;
    };
    std::vector<Frame> stack;
    if (enter(root)) stack.push_back({root, 0});
    while (!stack.empty()) {
      Frame& f = stack.back();
      const GumboVector& children = f.node->v.element.children;
      if (f.next == children.length) {
        leave(f.node->v.element);
        stack.pop_back();
        continue;
      }
      auto* child = static_cast<const GumboNode*>(children.data[f.next++]);
      if (enter(child)) stack.push_back({child, 0});
    }
    end_block(GUMBO_TAG_DIV);
  }

 private:
  bool enter(const GumboNode* n) {
    if (n->type == GUMBO_NODE_TEXT || n->type == GUMBO_NODE_WHITESPACE || n->type == GUMBO_NODE_CDATA) {
      add(n->v.text.text);
      return false;
    }
    if (n->type != GUMBO_NODE_ELEMENT) return false;
    const GumboElement& e = n->v.element;
    if (is_skipped(e.tag)) return false;
    bool page = e.tag == GUMBO_TAG_BODY || e.tag == GUMBO_TAG_ARTICLE || e.tag == GUMBO_TAG_MAIN;
    if (!page && (is_boilerplate_name(attribute(e, "class")) || is_boilerplate_name(attribute(e, "id")))) return false;
    std::string_view style = attribute(e, "style");
    if (style.find("display:none") != std::string_view::npos || attribute(e, "aria-hidden") == "true") return false;
    if (is_block(e.tag)) end_block(e.tag);
    if (e.tag == GUMBO_TAG_BR) add(pre_ ? "\n" : " ");
    if (e.tag == GUMBO_TAG_TD || e.tag == GUMBO_TAG_TH) add("  ");
    links_ += e.tag == GUMBO_TAG_A;
    pre_ += e.tag == GUMBO_TAG_PRE;
    current_.preformatted |= pre_ > 0;
    return true;
  }
  void leave(const GumboElement& e) {
    if (is_block(e.tag)) end_block(GUMBO_TAG_DIV);
    links_ -= e.tag == GUMBO_TAG_A;
    pre_ -= e.tag == GUMBO_TAG_PRE;
    current_.preformatted = pre_ > 0;
  }
  void add(std::string_view text) {
    size_t before = current_.text.size();
    if (pre_ > 0) {
      current_.text += text;
    } else {
      for (char c : text) {
        bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
        if (!space)
          current_.text += c;
        else if (!current_.text.empty() && current_.text.back() != ' ')
          current_.text += ' ';
      }
    }
    if (links_ > 0) current_.link_bytes += current_.text.size() - before;
  }
  void end_block(GumboTag next) {
    while (!current_.text.empty() && (current_.text.back() == ' ' || current_.text.back() == '\n'))
      current_.text.pop_back();
    if (!current_.text.empty()) blocks.push_back(std::move(current_));
    current_ = {};
    current_.tag = next;
    current_.preformatted = pre_ > 0;
  }

  Block current_;
  int links_ = 0, pre_ = 0;
};

bool keeps(const Block& b) {
  if (b.preformatted) return true;
  bool mostly_links = b.link_bytes * 2 > b.text.size();
  if (is_heading(b.tag)) return !mostly_links;
  if (b.tag == GUMBO_TAG_P || b.tag == GUMBO_TAG_BLOCKQUOTE) return !mostly_links || b.text.size() > 200;
  return !mostly_links && b.text.size() >= 20;
}

std::string join(const std::vector<Block>& blocks) {
  // A heading is kept when text follows it.
  std::string out, heading;
  for (const Block& b : blocks) {
    if (!keeps(b)) continue;
    if (is_heading(b.tag)) {
      heading = b.text;
      continue;
    }
    if (!out.empty()) out += b.tag == GUMBO_TAG_LI || b.tag == GUMBO_TAG_TR ? "\n" : "\n\n";
    if (!heading.empty()) out += heading + "\n\n";
    heading.clear();
    if (b.tag == GUMBO_TAG_LI) out += "- ";
    out += b.text;
  }
  return out;
}

// Title, date and the candidates for the main element, found in one pass over the whole tree.
struct Survey {
  const GumboNode* body = nullptr;
  std::vector<const GumboNode*> articles, mains;
  std::string heading;
};

void read_meta(const GumboElement& e, HtmlPage& page) {
  std::string_view name = attribute(e, "property"), content = attribute(e, "content");
  if (name.empty()) name = attribute(e, "name");
  if (name.empty()) name = attribute(e, "itemprop");
  if (name == "og:title" && page.title.empty()) page.title = content;
  if ((name == "article:published_time" || name == "date" || name == "datePublished" || name == "pubdate") &&
      page.date.empty())
    page.date = content;
}

std::string flat_text(const GumboNode* n) {
  Collector c;
  c.walk(n);
  std::string out;
  for (const Block& b : c.blocks) out += (out.empty() ? "" : " ") + b.text;
  return out;
}

Survey survey(const GumboNode* root, HtmlPage& page) {
  Survey s;
  std::string title;
  for (std::vector<const GumboNode*> stack = {root}; !stack.empty();) {
    const GumboNode* n = stack.back();
    stack.pop_back();
    if (n->type != GUMBO_NODE_ELEMENT) continue;
    const GumboElement& e = n->v.element;
    if (e.tag == GUMBO_TAG_HTML) page.language = attribute(e, "lang");
    if (e.tag == GUMBO_TAG_META) read_meta(e, page);
    if (e.tag == GUMBO_TAG_TIME && page.date.empty()) page.date = attribute(e, "datetime");
    if (e.tag == GUMBO_TAG_TITLE && title.empty()) title = flat_text(n);
    if (e.tag == GUMBO_TAG_H1 && s.heading.empty()) s.heading = flat_text(n);
    if (e.tag == GUMBO_TAG_BODY) s.body = n;
    if (e.tag == GUMBO_TAG_ARTICLE || attribute(e, "itemprop") == "articleBody") s.articles.push_back(n);
    if (e.tag == GUMBO_TAG_MAIN || attribute(e, "role") == "main") s.mains.push_back(n);
    for (unsigned i = e.children.length; i-- > 0;) stack.push_back(static_cast<const GumboNode*>(e.children.data[i]));
  }
  if (page.title.empty()) page.title = title.empty() ? s.heading : title;
  return s;
}

// The text of the best of some candidates: the longest.
std::string best_content(const std::vector<const GumboNode*>& nodes) {
  std::string best;
  for (size_t i = 0; i < std::min<size_t>(nodes.size(), 16); ++i) {
    Collector c;
    c.walk(nodes[i]);
    std::string text = join(c.blocks);
    if (text.size() > best.size()) best = std::move(text);
  }
  return best;
}

std::string main_content(const Survey& s) {
  if (!s.body) return "";
  std::string whole = best_content({s.body});
  for (auto* nodes : {&s.articles, &s.mains}) {
    std::string part = best_content(*nodes);
    if (part.size() >= 250 && part.size() * 4 >= whole.size()) return part;
  }
  return whole;
}

}  // namespace

HtmlPage extract_html(std::string_view bytes) {
  HtmlPage page;
  if (bytes.size() > kMaxBytes) return page.problem = "too_large", page;
  if (too_deep(bytes)) return page.problem = "too_deep", page;
  std::string text = repair_utf8(bytes);
  Arena arena;
  GumboOptions options = kGumboDefaultOptions;
  options.allocator = Arena::allocate, options.deallocator = Arena::release, options.userdata = &arena;
  options.max_errors = 0;
  if (setjmp(arena.out_of_memory)) return page.problem = "too_complex", page;
  const GumboOutput* tree = gumbo_parse_with_options(&options, text.data(), text.size());
  Survey s = survey(tree->root, page);
  // gumbo lets numeric references beyond Unicode (&#9223372036854775;) through as broken UTF-8.
  page.content = repair_utf8(main_content(s));
  page.title = repair_utf8(page.title), page.date = repair_utf8(page.date);
  page.language = repair_utf8(page.language);
  return page;
}

}  // namespace puyu
