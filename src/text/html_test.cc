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

TEST(Html, PageInsideAForm) {
  EXPECT_EQ(
      extract_html("<body class=menu><form class=comment><p>The whole page lies in a form here.</p></form>").content,
      "The whole page lies in a form here.");
}

std::string page(const std::string& body, const std::string& title = "Site") {
  return "<html><head><title>" + title + "</title></head><body>" + body + "</body></html>";
}
const std::string kProse =
    "<p>A paragraph of prose that is long enough to count, with a comma, and with a full stop at its end.</p>";
const std::string kProseText =
    "A paragraph of prose that is long enough to count, with a comma, and with a full stop at its end.";

TEST(Html, ListsTablesCodeAndFormulaeKeepTheirForm) {
  EXPECT_EQ(extract_html(page(kProse + "<ol start=3><li>three<li>four<ul><li>inner</ul></ol>")).content,
            kProseText + "\n3. three\n4. four\n  - inner");
  EXPECT_EQ(
      extract_html(page(kProse + "<table><tr><th>Name<th>Size<tr><td><p>one</p><td>1<tr><td>two<td>2</table>")).content,
      kProseText + "\nName | Size\none | 1\ntwo | 2");
  EXPECT_EQ(
      extract_html(page(kProse + "<pre><code>if x:\n    return <span>y</span>\n\n# end</code></pre>" + kProse)).content,
      kProseText + "\n\nif x:\n    return y\n\n# end\n\n" + kProseText);
  EXPECT_EQ(extract_html(page("<p>Euler found that <script type='math/tex'>e^{i\\pi}<0 & x</script>, as "
                              "<math><mi>x</mi><annotation encoding='application/x-tex'>x^2</annotation></math> shows, "
                              "<img class=tex alt='\\sum_i i'> being the sum of all.</p>"))
                .content,
            "Euler found that $e^{i\\pi}<0 & x$, as $x^2$ shows, $\\sum_i i$ being the sum of all.");
  EXPECT_EQ(
      extract_html(page("<div>First line of the verse, it is<br>and the second line of it.<br><br>A new verse "
                        "begins here, after two breaks of the line.</div>"))
          .content,
      "First line of the verse, it is\nand the second line of it.\n\nA new verse begins here, after two breaks of "
      "the line.");
}

TEST(Html, BoilerplateByPlaceNameAndWords) {
  std::string article = "<div class=entry-content>" + kProse + kProse + kProse + "</div>";
  std::string want = kProseText + "\n\n" + kProseText + "\n\n" + kProseText;
  EXPECT_EQ(extract_html(page("<h1>The very long title</h1><div>By A. Writer, 3 May 2021</div>" + article +
                                  "<div class='post-related'>" + kProse + "</div><div id=comments>" + kProse + kProse +
                                  "</div><p>Subscribe to our newsletter today</p>",
                              "The very long title | Site"))
                .content,
            want);
  // Without a name that says so, the text is where the prose is.
  EXPECT_EQ(extract_html(page("<div><ul><li><a href=1>One</a><li><a href=2>Two</a></ul></div><div><div>" + kProse +
                              kProse + kProse + "</div></div><div>Copyright, all of us.</div>"))
                .content,
            want);
  // A name that lies: nearly all of the page stands below it.
  EXPECT_EQ(extract_html(page("<div class='has-sidebar share'>" + kProse + kProse + kProse + "</div>")).content, want);
  // Linked data is believed where the page itself says nothing.
  std::string body;
  for (int i = 0; i < 8; ++i) body += "The text lies in the linked data of the page only, for its script to show it. ";
  EXPECT_EQ(extract_html("<script type=\"application/ld+json\">{\"@graph\": [{\"articleBody\": \"" + body +
                         "\", \"datePublished\": \"2020-02-03\"}]}</script><div id=app></div>")
                .content,
            body);
}

TEST(Html, TitleAndDateFromTheBestPlace) {
  HtmlPage p = extract_html(
      "<title>Story | Site</title><meta property=og:title content='The &quot;Story&quot;'><script "
      "type='application/ld+json'>{\"datePublished\" : \"2021-05-06T07:08:09Z\"}</script><time "
      "datetime=1999-01-01></time>" +
      kProse);
  EXPECT_EQ(p.title, "The \"Story\"");
  EXPECT_EQ(p.date, "2021-05-06T07:08:09Z");
  EXPECT_EQ(extract_html("<h1>Only a heading</h1><time datetime=1999-01-01>then</time>" + kProse).date, "1999-01-01");
}

TEST(Html, TagsThatOnlyLookLikeScripts) {
  EXPECT_EQ(
      extract_html(page("<p title='<script>'>An attribute that holds a tag, \"<scripture>\" and a &lt;script&gt; in "
                        "words are text.</p>"))
          .content,
      "An attribute that holds a tag, \"\" and a <script> in words are text.");
  EXPECT_EQ(
      extract_html(page(kProse + "<script>document.write('<p>no</p>' /* </scripty> */)</script >" + kProse)).content,
      kProseText + "\n\n" + kProseText);
  EXPECT_EQ(extract_html(page("<noscript>" + kProse)).content, kProseText);  // never closed
}

TEST(Html, HostilePagesAreRefusedOrEnd) {
  EXPECT_EQ(extract_html(repeat("<div>", 100000)).problem, "too_deep");
  EXPECT_EQ(extract_html(repeat("<math><li>", 20000)).problem, "too_deep");
  EXPECT_EQ(extract_html(repeat("<svg><li>", 20000)).problem, "");  // drawings are left out, an open one is no nesting
  EXPECT_EQ(extract_html(std::string(5 << 20, 'x')).problem, "too_large");
  // Nesting that the estimate misses: the parser ignores </div> inside a table.
  extract_html(repeat("<div><table></div></table>", 2000));
  extract_html(repeat("<b>", 400) + repeat("<p>x", 2000));
  // What would cost the parser seconds: very many tags, tags deep in others, formats opened again for every paragraph.
  EXPECT_EQ(extract_html(repeat("<p>x", 200000)).problem, "too_complex");
  EXPECT_EQ(extract_html(repeat("<div>", 500) + repeat("<p>x", 50000)).problem, "too_complex");
  EXPECT_EQ(extract_html(repeat("<b>", 400) + repeat("<p>x", 20000)).problem, "too_complex");
  // Text in a table but in no cell: the parser looks for the table among all its siblings each time.
  EXPECT_EQ(extract_html(repeat("<table><tr>x</table>", 26000)).problem, "too_complex");
  EXPECT_EQ(extract_html(repeat("<table><tr>x</table>", 12000)).problem, "");
  EXPECT_EQ(extract_html(repeat("<table><tr><td>x</table>", 16000)).problem, "");
  // What would cost the passes before it: these must stay linear in the page (each is one to four megabytes).
  for (std::string piece :
       {"<", "</", "<svg>", "<script>", "<!--", "<![CDATA[", "<a b", "<p x='", "&amp", "</p>", "< <"})
    extract_html(repeat(piece, 1 << 19));
  for (std::string s : {"", "<", "<!--", "<a", "&#xffffff;", "</p>", "\xff\xfe<p>x", "<p>a\0b"}) extract_html(s);
}

}  // namespace
}  // namespace puyu
