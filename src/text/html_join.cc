// Which blocks are the article, and the text they make.
#include <algorithm>
#include <map>

#include "base/utf8.h"
#include "text/html_blocks.h"

namespace puyu {
namespace {

constexpr size_t kShort = 120;  // bytes: what may be a caption, a date, a call to subscribe

std::string lower_ascii(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

// Letters, digits and everything beyond ASCII, lower case: what two spellings of a title share.
std::string key_of(std::string_view s) {
  std::string out;
  for (char c : lower_ascii(s))
    if (c < 0 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out += c;
  return out;
}

bool ends_sentence(std::string_view s) {
  while (!s.empty() && (s.back() == '"' || s.back() == '\'' || s.back() == ')' || s.back() == ']')) s.remove_suffix(1);
  for (std::string_view quote : {"”", "’", "」", "』", "）"})
    if (s.ends_with(quote)) s.remove_suffix(quote.size());
  for (std::string_view end : {".", "!", "?", ":", ";", "。", "！", "？", "：", "；", "…"})
    if (s.ends_with(end)) return true;
  return false;
}

bool is_prose(const HtmlBlock& b) {
  return (b.kind == BlockKind::kParagraph || b.kind == BlockKind::kOther) && b.text.size() >= 80 &&
         b.link_bytes * 2 < b.text.size() && ends_sentence(b.text);
}

bool begins_with_any(const std::string& s, std::initializer_list<std::string_view> list) {
  return std::any_of(list.begin(), list.end(), [&](std::string_view p) { return s.starts_with(p); });
}

// Lines that speak of the site, not of the subject.
bool is_call(const HtmlBlock& b) {
  if (b.text.size() > 2 * kShort) return false;
  std::string s = lower_ascii(b.text);
  if (begins_with_any(s, {"subscribe to",
                          "subscribe now",
                          "sign up",
                          "sign in",
                          "log in to",
                          "follow us",
                          "follow @",
                          "share this",
                          "share on",
                          "read more",
                          "read also",
                          "also read",
                          "read next",
                          "related:",
                          "related articles",
                          "related stories",
                          "see also:",
                          "more on this",
                          "click here",
                          "get the latest",
                          "get our",
                          "all rights reserved",
                          "filed under",
                          "posted in",
                          "like this:",
                          "leave a comment",
                          "leave a reply",
                          "print this",
                          "email this",
                          "download our app",
                          "join our",
                          "support our",
                          "watch now",
                          "photo:",
                          "photo by",
                          "image credit",
                          "picture:",
                          "getty images",
                          "you may also",
                          "you might also",
                          "don't miss",
                          "don’t miss",
                          "most popular",
                          "next article",
                          "previous article",
                          "continue reading",
                          "story continues",
                          "article continues",
                          "this slideshow requires",
                          "please enable javascript",
                          "explore further",
                          "citation:",
                          "about the author",
                          "skip to",
                          "copyright ",
                          "©",
                          "相关阅读",
                          "相关文章",
                          "推荐阅读",
                          "延伸阅读",
                          "责任编辑",
                          "版权所有",
                          "版权声明",
                          "上一篇",
                          "下一篇",
                          "扫一扫",
                          "关注我们",
                          "点击查看",
                          "阅读原文",
                          "分享到",
                          "本文编辑"}))
    return true;
  if (b.text.size() > 60 || ends_sentence(b.text)) return false;
  return begins_with_any(
      s, {"subscribe", "advertisement", "sponsored", "comments", "tags:", "tagged", "loading", "recommended",
          "trending", "more:", "watch:", "posted by", "share", "tweet", "评论", "分享", "编辑：", "打印", "返回"});
}

bool has_digit(std::string_view s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "By NAME", "Updated 3:27 am PST, …", "2019年11月20日 来源：…": what stands between a title and the text.
bool is_byline(const HtmlBlock& b) {
  if (b.text.size() > kShort || ends_sentence(b.text)) return false;
  std::string s = lower_ascii(b.text);
  if (begins_with_any(s, {"by ", "posted", "published", "updated", "last updated", "written by", "from ", "author",
                          "date", "作者", "来源", "时间", "发布", "编辑", "记者"}))
    return true;
  if (!has_digit(s)) return false;
  constexpr std::string_view kDates[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep",     "oct",
                                         "nov", "dec", "20",  "19",  "am",  "pm",  "年",  "ago", "min read"};
  return std::any_of(std::begin(kDates), std::end(kDates),
                     [&](std::string_view d) { return s.find(d) != std::string::npos; });
}

class Selection {
 public:
  Selection(std::vector<HtmlBlock> blocks, std::string_view title)
      : blocks_(std::move(blocks)), keep_(blocks_.size(), 1), title_(key_of(title)) {}

  std::string run() {
    judge_lists();
    judge_blocks();
    judge_head();
    judge_headings();
    return join();
  }

 private:
  bool is_title(const HtmlBlock& b) const {
    std::string key = key_of(b.text);
    if (title_.empty() || key.empty()) return false;
    if (title_ == key) return true;
    return key.size() >= 12 && (title_.find(key) != std::string::npos ||
                                (key.find(title_) != std::string::npos && key.size() < 2 * title_.size()));
  }

  // A list whose items are links is navigation; otherwise all its items stay, short ones too.
  void judge_lists() {
    std::map<uint32_t, std::pair<size_t, size_t>> lists;  // bytes, of them in links
    for (const HtmlBlock& b : blocks_)
      if (b.list) lists[b.list].first += b.text.size(), lists[b.list].second += b.link_bytes;
    for (size_t i = 0; i < blocks_.size(); ++i)
      if (const HtmlBlock& b = blocks_[i]; b.list) {
        auto [bytes, links] = lists[b.list];
        keep_[i] = links * 2 <= bytes;
      }
  }

  void judge_blocks() {
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const HtmlBlock& b = blocks_[i];
      if (!keep_[i] || b.kind == BlockKind::kCode || b.kind == BlockKind::kRow) continue;
      // A link whose text is an address is a source that the text names.
      bool address = b.text.starts_with("http") || b.text.starts_with("www.");
      bool mostly_links = b.link_bytes * 2 > b.text.size() && !address;
      if (is_call(b)) keep_[i] = 0;
      if (b.list) continue;
      if (mostly_links && b.text.size() <= 2 * kShort) keep_[i] = 0;
      if (b.kind == BlockKind::kOther && b.text.size() < 20 && !ends_sentence(b.text)) keep_[i] = 0;
    }
  }

  // Before the first paragraph: the title again, who wrote it and when.
  void judge_head() {
    size_t first = 0;
    while (first < blocks_.size() && !(keep_[first] && is_prose(blocks_[first]))) ++first;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const HtmlBlock& b = blocks_[i];
      if (b.kind != BlockKind::kCode && b.kind != BlockKind::kRow && (i < first || b.is_title) && is_title(b))
        keep_[i] = 0;
      if (first < blocks_.size() && i < first && !b.list && b.kind != BlockKind::kHeading && is_byline(b)) keep_[i] = 0;
    }
  }

  // A heading is kept when text follows it before the next heading.
  void judge_headings() {
    bool text_follows = false;
    for (size_t i = blocks_.size(); i-- > 0;) {
      if (!keep_[i]) continue;
      if (blocks_[i].kind != BlockKind::kHeading)
        text_follows = true;
      else if (!text_follows)
        keep_[i] = 0;
      else
        text_follows = i > 0 && blocks_[i - 1].kind == BlockKind::kHeading;
    }
  }

  std::string join() const {
    std::string out;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (!keep_[i]) continue;
      const HtmlBlock& b = blocks_[i];
      if (!out.empty()) out += b.kind == BlockKind::kItem || b.kind == BlockKind::kRow ? "\n" : "\n\n";
      out += b.text;
    }
    return out;
  }

  std::vector<HtmlBlock> blocks_;
  std::vector<char> keep_;
  std::string title_;
};

}  // namespace

std::string join_blocks(std::vector<HtmlBlock> blocks, std::string_view title) {
  return Selection(std::move(blocks), title).run();
}

}  // namespace puyu
