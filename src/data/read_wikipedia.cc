// Dumps of MediaWiki (pages-articles.xml, also .bz2 in one stream or many): an article a document, read page by page.
// The XML is that of MediaWiki's exporter (mediawiki.org/xml/export-0.11): text is escaped, so that a page's elements
// are found by their names.
#include <algorithm>
#include <charconv>

#include "base/utf8.h"
#include "data/reading.h"
#include "text/wikitext.h"

namespace puyu {
namespace {

constexpr size_t kMostHead = size_t{1} << 20;  // what stands before the first page

std::string unescaped(std::string_view s) {
  constexpr std::pair<std::string_view, char> kNames[] = {
      {"lt;", '<'}, {"gt;", '>'}, {"amp;", '&'}, {"quot;", '"'}, {"apos;", '\''}};
  std::string out;
  for (size_t i = 0; i < s.size();) {
    if (s[i] != '&') {
      out += s[i++];
      continue;
    }
    const std::string_view rest = s.substr(i + 1, 12);
    auto it = std::find_if(std::begin(kNames), std::end(kNames), [&](auto& n) { return rest.starts_with(n.first); });
    uint32_t c = 0;
    if (it != std::end(kNames)) {
      out += it->second, i += 1 + it->first.size();
    } else if (const size_t stop = rest.find(';');
               rest.starts_with('#') && stop != std::string_view::npos &&
               std::from_chars(rest.data() + 1, rest.data() + stop, c).ptr == rest.data() + stop && c > 0 &&
               c < 0x110000 && (c < 0xd800 || c > 0xdfff)) {
      append_utf8(out, c), i += 2 + stop;
    } else {
      out += s[i++];
    }
  }
  return out;
}

// The content of the last <name ...>...</name>, still escaped; empty when there is none.
std::string_view element(std::string_view xml, std::string_view name) {
  const std::string open = "<" + std::string(name), close = "</" + std::string(name) + ">";
  for (size_t at = xml.rfind(open); at != std::string_view::npos; at = at ? xml.rfind(open, at - 1) : xml.npos) {
    const size_t after = at + open.size();
    if (after >= xml.size() || (xml[after] != '>' && xml[after] != ' ')) continue;
    const size_t from = xml.find('>', after);
    if (from == xml.npos || xml[from - 1] == '/') return {};
    const size_t to = xml.find(close, from);
    return to == xml.npos ? std::string_view{} : xml.substr(from + 1, to - from - 1);
  }
  return {};
}

struct Site {
  std::string base;  // what an article's name is appended to
  WikiOptions options;
};

// The site's address and its names of the namespaces for files (6) and categories (14).
Site read_site(std::string_view head) {
  Site site;
  const std::string base = unescaped(element(head, "base"));
  site.base = base.substr(0, base.rfind('/') + 1);
  for (std::string_view key : {"key=\"6\"", "key=\"14\""}) {
    const size_t at = head.find(key);
    if (at == head.npos) continue;
    const size_t from = head.find('>', at), to = head.find('<', from == head.npos ? at : from);
    if (from == head.npos || to == head.npos) continue;
    site.options.hidden_namespaces.push_back(unescaped(head.substr(from + 1, to - from - 1)));
  }
  return site;
}

void read_page(Reading& r, const Site& site, std::string_view page) {
  Document d = r.start_numbered();
  d.title = repair_utf8(unescaped(element(page, "title")));
  if (!site.base.empty() && !d.title.empty()) {
    d.url = repair_utf8(site.base) + d.title;
    std::replace(d.url.begin(), d.url.end(), ' ', '_');
  }
  d.date = iso_date(element(page, "timestamp"));
  const std::string_view space = element(page, "ns"), model = element(page, "model");
  const bool number = !space.empty() && space.size() < 6 && space.find_first_not_of("0123456789") == space.npos;
  if (!space.empty() && space != "0")
    return r.fail_as(std::move(d), number ? cat("namespace_", space) : "bad_page", page.size());
  if (page.find("<redirect ") != page.npos) return r.fail_as(std::move(d), "redirect", page.size());
  if (!model.empty() && model != "wikitext") return r.fail_as(std::move(d), "not_wikitext", page.size());
  const std::string text = unescaped(element(page, "text"));
  if (text.empty()) return r.fail_as(std::move(d), page.find("<text") == page.npos ? "bad_page" : "empty", page.size());
  r.emit(std::move(d), wikitext_to_text(text, site.options), Format::kText);
}

// A window over the dump.
struct Window {
  InputStream& in;
  std::string buffer;
  size_t at = 0;

  std::string_view view() const { return std::string_view(buffer).substr(at); }
  bool fill() {
    if (at > 0) buffer.erase(0, at), at = 0;
    return in.read(buffer);
  }
  // Moves to where `what` begins, or behind it. False: the dump ends before. passed: how many bytes were passed over.
  bool skip_to(std::string_view what, bool behind, size_t& passed) {
    for (;;) {
      const size_t found = view().find(what);
      const size_t step = found != std::string_view::npos ? found + (behind ? what.size() : 0)
                                                          : view().size() - std::min(view().size(), what.size() - 1);
      at += step, passed += step;
      if (found != std::string_view::npos) return true;
      if (!fill()) return false;
    }
  }
};

}  // namespace

bool is_wikipedia(std::string_view head) { return head.substr(0, 1024).find("<mediawiki") != head.npos; }

void read_wikipedia(Reading& r, InputStream& in, std::string head) {
  constexpr std::string_view kOpen = "<page>", kClose = "</page>";
  const auto most = static_cast<size_t>(r.options.max_record_bytes);
  Window w{in, std::move(head)};
  while (w.view().find(kOpen) == std::string_view::npos && w.view().size() < kMostHead && w.fill()) {}
  const Site site = read_site(w.view().substr(0, w.view().find(kOpen)));
  size_t passed = 0;
  while (w.skip_to(kOpen, false, passed)) {
    size_t end = w.view().find(kClose), searched = 0;
    while (end == std::string_view::npos && w.view().size() <= most) {
      searched = w.view().size() - std::min(w.view().size(), kClose.size());
      if (!w.fill()) break;
      end = w.view().find(kClose, searched);
    }
    passed = 0;
    if (end != std::string_view::npos && end <= most) {
      read_page(r, site, w.view().substr(0, end));
      w.at += end + kClose.size();
    } else if (!w.skip_to(kClose, true, passed)) {
      r.fail_as(r.start_numbered(), in.damage().empty() ? "truncated_page" : in.damage(), passed + w.view().size());
      return;
    } else {
      r.fail_as(r.start_numbered(), "too_large", passed);
    }
  }
  if (!in.damage().empty()) r.fail_as(r.start_numbered(), in.damage(), in.file_bytes());
}

}  // namespace puyu
