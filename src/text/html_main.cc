#include "text/html_main.h"

#include <algorithm>
#include <string>

namespace puyu {
namespace {

constexpr double kMostOfPage = 0.5;  // a part with this share of the prose is no boilerplate, whatever its name
constexpr double kNearlyAll = 0.85;  // and with a name that hardly ever lies, only with this share
constexpr double kStepDown = 0.8;    // the share that a child must hold to be the article in its parent's place
constexpr uint32_t kMinProse = 60;   // bytes of a block of prose
constexpr double kMaxLinksInProse = 0.4;

// How sure a name is: what designers call the parts that are not the article.
enum class Doubt { kNone, kSome, kStrong };

// Found anywhere in a name.
constexpr std::string_view kStrongParts[] = {
    "comment",        "disqus",        "sidebar",    "breadcrumb",      "newsletter", "outbrain",
    "taboola",        "zergnet",       "sharedaddy", "jp-relatedposts", "addtoany",   "cookie",
    "advert",         "navbar",        "pagination", "paginat",         "sr-only",    "visually-hidden",
    "visuallyhidden", "screen-reader", "respond",    "paywall",         "copyright"};
constexpr std::string_view kSomeParts[] = {
    "related",   "share",     "sharing",    "social",       "recommend",  "promo",        "sponsor",    "subscri",
    "popup",     "modal",     "signup",     "sign-up",      "sign_up",    "footer",       "navigation", "masthead",
    "byline",    "dateline",  "timestamp",  "caption",      "trending",   "most-read",    "mostread",   "popular",
    "more-from", "also-like", "read-more",  "readmore",     "author-",    "author_",      "bio-",       "toolbar",
    "credit",    "gallery",   "slideshow",  "carousel",     "disclaimer", "donat",        "teaser",     "banner",
    "overlay",   "lightbox",  "dropdown",   "skip-link",    "print-only", "printonly",    "no-print",   "noprint",
    "widget",    "post-meta", "entry-meta", "article-meta", "meta-data",  "metadata",     "follow-us",  "followus",
    "hashtag",   "topics",    "keywords",   "publishdate",  "pubdate",    "post-date",    "entry-date", "postmeta",
    "postedin",  "nextprev",  "prevnext",   "post-nav",     "edit-link",  "rating",       "fb-like",    "whatsapp",
    "survey",    "rollover",  "tooltip",    "popover",      "hovercard",  "livefyre",     "reply",      "replies",
    "trackback", "pingback",  "reprint",    "syndicat",     "correction", "editors-note", "tagline",    "kicker"};
// A word of a name: letters and digits between hyphens and the like.
constexpr std::string_view kWords[] = {"menu",    "nav",         "ad",      "ads",     "adv",    "adsbygoogle",
                                       "login",   "tags",        "meta",    "search",  "navbox", "infobox",
                                       "reflist", "editsection", "mw-jump", "catlinks"};
// A whole name: "hidden", but not "label-hidden".
constexpr std::string_view kNames[] = {"hidden", "hide",   "d-none",  "date",   "time",   "info",
                                       "tag",    "tagged", "links",   "tools",  "print",  "bio",
                                       "toc",    "author", "authors", "bottom", "buttons"};

bool hard_drop(GumboTag t) {
  switch (t) {
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_SVG:
    case GUMBO_TAG_BUTTON:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_TEXTAREA:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_HEAD:
    case GUMBO_TAG_AUDIO:
    case GUMBO_TAG_VIDEO:
    case GUMBO_TAG_INPUT:
      return true;
    default:
      return false;
  }
}

Doubt doubt_of_tag(GumboTag t) {
  switch (t) {
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_FOOTER:
      return Doubt::kStrong;
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_ADDRESS:
      return Doubt::kSome;
    default:
      return Doubt::kNone;
  }
}

// Calls fn on the pieces of s between characters that `separates`; true when one of them is in the list.
template <size_t N, class F>
bool any_piece(std::string_view s, const std::string_view (&list)[N], F&& separates) {
  for (size_t i = 0; i < s.size();) {
    size_t end = i;
    while (end < s.size() && !separates(s[end])) ++end;
    if (std::find(std::begin(list), std::end(list), s.substr(i, end - i)) != std::end(list)) return true;
    i = end + 1;
  }
  return false;
}

std::string lower_name(std::string_view value) {
  std::string s(value.substr(0, 512));
  for (char& c : s) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return s;
}

Doubt doubt_of_name(std::string_view value) {
  if (value.empty()) return Doubt::kNone;
  std::string s = lower_name(value);
  auto holds = [&](std::string_view part) { return s.find(part) != std::string::npos; };
  if (std::any_of(std::begin(kStrongParts), std::end(kStrongParts), holds)) return Doubt::kStrong;
  if (holds("embed") || holds("twitter-tweet")) return Doubt::kNone;  // quoted posts are part of the text
  if (std::any_of(std::begin(kSomeParts), std::end(kSomeParts), holds)) return Doubt::kSome;
  auto in_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool found = any_piece(s, kWords, [&](char c) { return !in_word(c); }) ||
               any_piece(s, kNames, [](char c) { return c == ' ' || c == '\n' || c == '\t'; });
  return found ? Doubt::kSome : Doubt::kNone;
}

Doubt doubt_of(const HtmlNode& n) {
  Doubt d = doubt_of_tag(n.tag);
  std::string_view role = HtmlTree::attribute(n, "role"), style = HtmlTree::attribute(n, "style");
  if (role == "navigation" || role == "complementary" || role == "contentinfo" || role == "search" || role == "dialog")
    d = Doubt::kStrong;
  if (HtmlTree::attribute(n, "aria-hidden") == "true" || HtmlTree::has_attribute(n, "hidden") ||
      style.find("display:none") != std::string_view::npos || style.find("display: none") != std::string_view::npos)
    d = std::max(d, Doubt::kSome);
  if (n.tag == GUMBO_TAG_BODY || n.tag == GUMBO_TAG_ARTICLE || n.tag == GUMBO_TAG_MAIN || n.tag == GUMBO_TAG_HTML)
    return d;
  if (HtmlTree::attribute(n, "itemprop") == "articleBody") return Doubt::kNone;
  return std::max({d, doubt_of_name(HtmlTree::attribute(n, "class")), doubt_of_name(HtmlTree::attribute(n, "id"))});
}

// Names that content management systems give to the text itself.
bool is_text_name(std::string_view value) {
  constexpr std::string_view kTextNames[] = {
      "entry-content",      "post-content",  "article-body",         "articlebody",
      "article__body",      "article_body",  "story-body",           "storybody",
      "post-body",          "post_body",     "article-content",      "articlecontent",
      "article__content",   "story-content", "post__content",        "body-copy",
      "bodytext",           "body-text",     "article-text",         "articletext",
      "rich_media_content", "post_text",     "story__content",       "content-body",
      "news-content",       "newscontent",   "main-content-article", "mw-parser-output",
      "markdown-body"};
  if (value.empty()) return false;
  std::string s = lower_name(value);
  return std::any_of(std::begin(kTextNames), std::end(kTextNames),
                     [&](std::string_view name) { return s.find(name) != std::string::npos; });
}

bool is_container(GumboTag t) {
  switch (t) {
    case GUMBO_TAG_HTML:
    case GUMBO_TAG_BODY:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_TBODY:
    case GUMBO_TAG_TR:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_SPAN:
    case GUMBO_TAG_FONT:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_UNKNOWN:
      return true;
    default:
      return false;
  }
}

class Finder {
 public:
  Finder(const HtmlTree& tree, bool believe_names, MainContent& out)
      : nodes_(tree.nodes()), believe_names_(believe_names), out_(out) {}

  bool run() {
    out_.dropped.assign(nodes_.size(), 0);
    uint32_t body = 0;
    for (uint32_t i = 0; i < nodes_.size() && !body; ++i)
      if (nodes_[i].is(GUMBO_TAG_BODY)) body = i;
    if (!body) return false;
    for (uint32_t i = 0; i < nodes_.size();) {
      bool drop = nodes_[i].element && hard_drop(nodes_[i].tag);
      out_.dropped[i] = drop;
      i = drop ? nodes_[i].end : i + 1;
    }
    measure();
    if (believe_names_) drop_doubtful(body);
    measure();
    out_.root = choose(body);
    return true;
  }

 private:
  // Prose of every subtree, in bytes.
  void measure() {
    struct Own {
      uint32_t chars = 0, links = 0, stops = 0;
    };
    std::vector<Own> own(nodes_.size());
    std::vector<uint32_t> block(nodes_.size(), 0);
    std::vector<char> linked(nodes_.size(), 0);
    prose_.assign(nodes_.size(), 0);
    for (uint32_t i = 0; i < nodes_.size();) {
      if (out_.dropped[i]) {
        i = nodes_[i].end;
        continue;
      }
      const HtmlNode& n = nodes_[i];
      linked[i] = linked[n.parent] || n.is(GUMBO_TAG_A);
      block[i] = n.element && is_block_tag(n.tag) ? i : block[n.parent];
      Own& o = own[block[i]];
      for (size_t k = 0; k < n.text.size(); ++k) {
        char c = n.text[k];
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
        ++o.chars, o.links += linked[i];
        o.stops += c == '.' || c == ',' || c == '?' || c == '!' || (c == '\xe3' && n.text.compare(k, 3, "。") == 0) ||
                   (c == '\xef' && n.text.compare(k, 3, "，") == 0);
      }
      ++i;
    }
    for (uint32_t i = static_cast<uint32_t>(nodes_.size()); i-- > 0;) {
      const Own& o = own[i];
      if (o.chars >= kMinProse && o.stops > 0 && o.links <= kMaxLinksInProse * o.chars) prose_[i] += o.chars;
      if (i) prose_[nodes_[i].parent] += prose_[i];
    }
  }

  void drop_doubtful(uint32_t body) {
    double all = prose_[body];
    for (uint32_t i = body; i < nodes_[body].end;) {
      bool drop = out_.dropped[i] != 0;
      if (!drop && nodes_[i].element && i != body) {
        Doubt d = doubt_of(nodes_[i]);
        drop = d != Doubt::kNone && prose_[i] <= (d == Doubt::kStrong ? kNearlyAll : kMostOfPage) * all;
        out_.dropped[i] = drop;
      }
      i = drop ? nodes_[i].end : i + 1;
    }
  }

  uint32_t choose(uint32_t body) const {
    double all = prose_[body];
    uint32_t best = 0;
    for (uint32_t i = body + 1; i < nodes_[body].end;) {  // what says itself that it is the article
      if (out_.dropped[i]) {
        i = nodes_[i].end;
        continue;
      }
      const HtmlNode& n = nodes_[i];
      bool named =
          n.element && (HtmlTree::attribute(n, "itemprop") == "articleBody" ||
                        is_text_name(HtmlTree::attribute(n, "class")) || is_text_name(HtmlTree::attribute(n, "id")));
      if (named && prose_[i] > 0.4 * all && (!best || prose_[i] >= 0.9 * prose_[best])) best = i;
      ++i;
    }
    if (best) return best;
    uint32_t at = body;
    for (;;) {
      uint32_t next = 0;
      for (uint32_t c = at + 1; c < nodes_[at].end; c = nodes_[c].end)
        if (nodes_[c].element && !out_.dropped[c] && is_container(nodes_[c].tag) &&
            prose_[c] > kStepDown * prose_[at] && prose_[c] > 0)
          next = c;
      if (!next) return at;
      at = next;
    }
  }

  const std::vector<HtmlNode>& nodes_;
  const bool believe_names_;
  MainContent& out_;
  std::vector<uint32_t> prose_;
};

}  // namespace

bool find_main_content(const HtmlTree& tree, bool believe_names, MainContent& out) {
  return Finder(tree, believe_names, out).run();
}

}  // namespace puyu
