// Manual pages (man and mdoc macros, UTF-8 or Latin-1) as plain text for training: headings at the margin, bodies
// indented by 4, paragraphs on one line each, displays kept line by line. The NAME section is tidied to one line a
// description, "    ls, dir - list directory contents", whatever dashes and breaks the page used.
// This reads the small language that real pages use; it defines no macros and runs no loops, so any input ends.
#pragma once
#include <string>
#include <string_view>

namespace puyu {

struct ManualPage {
  std::string title;     // "ls(1)"
  std::string section;   // "1"
  std::string date;      // as the page gives it
  std::string text;      // begins with the first section, usually NAME
  std::string alias_of;  // not empty: the page is only ".so man1/other.1"
};

ManualPage roff_to_text(std::string_view source);
// A line within the first 64 KiB begins with .TH, .SH, .Dd, .so or another request of a manual page.
bool looks_like_roff(std::string_view bytes);

}  // namespace puyu
