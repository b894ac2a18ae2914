#include "text/html_meta.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace puyu {
namespace {

// The string value of the first "key": "value" in JSON text, without parsing it: linked data is often broken.
std::string json_string(std::string_view json, std::string_view key) {
  std::string quoted = "\"" + std::string(key) + "\"";
  for (size_t at = json.find(quoted); at != std::string_view::npos; at = json.find(quoted, at + 1)) {
    size_t i = json.find_first_not_of(" \t\r\n:", at + quoted.size());
    if (i == std::string_view::npos || json[i] != '"') continue;
    size_t end = i + 1;
    while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
    std::string_view value = json.substr(i + 1, std::min(end, json.size()) - i - 1);
    if (value.find('\\') == std::string_view::npos) return std::string(value);
  }
  return "";
}

bool is_date_name(std::string_view name) {
  constexpr std::string_view kNames[] = {"article:published_time",
                                         "date",
                                         "datePublished",
                                         "pubdate",
                                         "publishdate",
                                         "og:published_time",
                                         "parsely-pub-date",
                                         "sailthru.date",
                                         "dc.date",
                                         "DC.date.issued",
                                         "publish_date",
                                         "article.published",
                                         "weibo: article:create_at"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// The names a page gives to its title, longest first in <title>, which often ends in the site's name.
struct Titles {
  std::string open_graph, tag, heading, headline;
  std::string best() const {
    for (const std::string* t : {&open_graph, &headline, &tag, &heading})
      if (!t->empty()) return *t;
    return "";
  }
};

void longest_body(const Json& json, std::string& best) {
  if (json.is_array())
    for (const Json& item : json.as_array()) longest_body(item, best);
  if (!json.is_object()) return;
  for (const auto& [key, value] : json.as_object()) {
    if (key == "articleBody" && value.is_string() && value.as_string().size() > best.size()) best = value.as_string();
    longest_body(value, best);
  }
}

}  // namespace

void read_meta(const HtmlTree& tree, const std::vector<std::string_view>& linked_data, HtmlPage& page) {
  Titles titles;
  std::string time;
  const std::vector<HtmlNode>& nodes = tree.nodes();
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    const HtmlNode& n = nodes[i];
    if (!n.element) continue;
    std::string_view item = HtmlTree::attribute(n, "itemprop");
    if (n.tag == GUMBO_TAG_HTML) page.language = HtmlTree::attribute(n, "lang");
    if (n.tag == GUMBO_TAG_META) {
      std::string_view content = HtmlTree::attribute(n, "content");
      for (std::string_view name : {HtmlTree::attribute(n, "property"), HtmlTree::attribute(n, "name"), item}) {
        if (name == "og:title" && titles.open_graph.empty()) titles.open_graph = content;
        if (is_date_name(name) && page.date.empty()) page.date = content;
      }
    }
    if (time.empty() && (n.tag == GUMBO_TAG_TIME || item == "datePublished")) time = HtmlTree::attribute(n, "datetime");
    if (n.tag == GUMBO_TAG_TITLE && titles.tag.empty()) titles.tag = tree.flat_text(i);
    if (n.tag == GUMBO_TAG_H1 && titles.heading.empty()) titles.heading = tree.flat_text(i);
  }
  for (std::string_view json : linked_data) {
    if (page.date.empty()) page.date = json_string(json, "datePublished");
    if (titles.headline.empty()) titles.headline = json_string(json, "headline");
  }
  if (page.date.empty()) page.date = time;
  page.title = titles.best();
}

std::string linked_article(const std::vector<std::string_view>& linked_data) {
  std::string best;
  for (std::string_view text : linked_data) {
    if (text.find("articleBody") == std::string_view::npos) continue;
    try {
      Json json = Json::parse(text);
      longest_body(json, best);
    } catch (const Error&) { continue; }  // broken linked data says nothing; the page's own text stands
  }
  return best;
}

}  // namespace puyu
