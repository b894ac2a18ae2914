// The parts of the manual page reader (roff.h): escapes, the page being written, and the mdoc macros.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace puyu::roff {

using Strings = std::map<std::string, std::string, std::less<>>;  // what .ds defined, already plain text

// Text without escapes: fonts, sizes and motions vanish, characters become UTF-8. `joins` is set when the line ends in
// \c (the next line follows without a space).
std::string plain(std::string_view line, const Strings& strings, bool* joins = nullptr);
// The arguments of a request line: split at spaces, "quoted ones" kept whole; escapes are still in them.
std::vector<std::string> arguments(std::string_view rest);

// The page as it grows. Text is filled into one line a paragraph, or kept line by line inside displays.
class Page {
 public:
  void heading(const std::string& title, int depth);  // 0 section, 1 subsection
  void text(const std::string& line, bool joins = false);
  void line_break() { flush(); }
  void paragraph();                   // ends a paragraph; a blank line before the next text
  void item();                        // the next text is a tag, what follows is its indented body
  void item(const std::string& tag);  // the same with the tag at hand; "" keeps only the indent
  void end_item() { flush(), hang_ = 0; }
  void indent(int by);
  void set_fill(bool on) { flush(), fill_ = on; }
  bool tag_pending() const { return tag_next_; }
  std::string take();  // the text so far, NAME tidied

 private:
  void flush();
  void put(std::string_view line);
  std::string out_, paragraph_;
  int indent_ = 4, hang_ = 0;
  bool fill_ = true, gap_ = false, joins_ = false, tag_next_ = false;
};

// The mdoc macros; returns false when the request is none of them.
class Mdoc {
 public:
  bool request(Page& page, std::string_view name, std::string_view rest, const Strings& strings);

 private:
  void list_item(Page& page, const std::string& text);
  std::string name_;
  std::vector<bool> lists_;  // for each open list: items have tags
};

}  // namespace puyu::roff
