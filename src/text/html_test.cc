#include "text/html.h"

#include <gtest/gtest.h>

namespace puyu {
namespace {

std::string repeat(std::string_view s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

TEST(Html, KeepsContentDropsTheRest) {
  HtmlPage p = extract_html(R"(<!DOCTYPE html><html lang=zh><head><title>标题 &amp; more</title>
<meta property="article:published_time" content="2023-04-05T06:07"><style>p{}</style></head><body>
<nav><a href=/>Home</a></nav><div class="sidebar">Subscribe now to our newsletter, it is free</div>
<h1>Heading</h1><p>First   paragraph with <b>bold</b> text and <a href=x>one link</a> in it.</p>
<script>var x = 1;</script><ul><li>item number one is here</li><li>item number two is here</li></ul>
<pre>int main() {
  return 0;
}</pre><p>中文段落，内容很好。</p><form><input><p>Search</p></form><footer>Copyright 2023</footer></body></html>)");
  EXPECT_EQ(p.problem, "");
  EXPECT_EQ(p.title, "标题 & more");
  EXPECT_EQ(p.date, "2023-04-05T06:07");
  EXPECT_EQ(p.language, "zh");
  EXPECT_EQ(p.content,
            "Heading\n\nFirst paragraph with bold text and one link in it.\n- item number one is here\n"
            "- item number two is here\n\nint main() {\n  return 0;\n}\n\n中文段落，内容很好。");
}

TEST(Html, HostilePagesAreRefusedOrEnd) {
  EXPECT_EQ(extract_html(repeat("<div>", 100000)).problem, "too_deep");
  EXPECT_EQ(extract_html(repeat("<svg><li>", 100000)).problem, "too_deep");
  EXPECT_EQ(extract_html(std::string(5 << 20, 'x')).problem, "too_large");
  // Nesting that the estimate misses: the parser ignores </div> inside a table.
  extract_html(repeat("<div><table></div></table>", 2000));
  extract_html(repeat("<b>", 400) + repeat("<p>x", 2000));
  for (std::string s : {"", "<", "<!--", "<a", "&#xffffff;", "</p>", "\xff\xfe<p>x", "<p>a\0b"}) extract_html(s);
}

}  // namespace
}  // namespace puyu
