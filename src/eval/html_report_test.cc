#include "eval/html_report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/utf8.h"
#include "eval/html_chart.h"

namespace puyu {
namespace {

size_t count(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

TEST(Html, EscapesWhatAModelWrote) {
  EXPECT_EQ(escape_html("<b a=\"1\" c='2'>&amp;"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
  EXPECT_EQ(escape_html("浦语 ✓\n\t"), "浦语 ✓\n\t");
  EXPECT_EQ(escape_html(std::string("a\0b\x1b[31m\xff", 9)), "a�b�[31m�");
}

TEST(Html, NothingHostileReachesThePage) {
  const std::string bad = "</td></style></script><script>alert(1)</script><img src=x onerror='a'>'\">";
  HtmlReport r{bad, bad, {{bad, bad, bad}}, {}, bad};
  Section s{bad, {}};
  s.blocks = {Text{bad},
              Code{bad, bad},
              Table{bad, {bad}, {{bad}}},
              LineChart{bad, bad, bad, false, {{bad, {1, 2}, {1, 2}}}, {{1.5, bad}}},
              BarChart{bad, {{bad, 1, bad, bad}}},
              Transcript{bad, {bad}, {{bad, bad, {{bad}}}}}};
  r.sections = {s, s, s};
  std::string page = render_html(r);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(count(page, "</style>"), 1u);
  EXPECT_EQ(count(page, "&lt;script&gt;"), 3u + 3 + 3 + 1 + 3 * (1 + 1 + 2 + 3 + 6 + 4 + 5));
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  EXPECT_TRUE(valid_utf8(page));
}

TEST(Html, NumbersStandRight) {
  std::string page =
      render_html({.sections = {{"", {Table{"", {"任务", "score"}, {{"算术", "98.0 %"}, {"x", "–"}, {"y"}}}}}}});
  EXPECT_EQ(count(page, "<th class='num'>score</th>"), 1u);
  EXPECT_EQ(count(page, "<td class='num'>98.0 %</td>"), 1u);
  EXPECT_EQ(count(page, "<td>算术</td>"), 1u);
  EXPECT_EQ(count(page, "<td class='num'></td>"), 1u) << "a short row is filled up";
}

TEST(Html, MissingAnswersAreSaid) {
  std::string page = render_html(
      {.sections = {{"", {Transcript{"", {"base", "SFT"}, {{"1+1?", "2", {{"", Transcript::Mark::kWrong}}}}}}}}});
  EXPECT_NE(page.find("(empty)"), std::string::npos);
  EXPECT_NE(page.find("<td>–</td>"), std::string::npos);
}

TEST(Chart, OnePointIsADot) {
  std::string svg = render_chart(LineChart{"", "", "", false, {{"loss", {5}, {2.5}}}, {}});
  EXPECT_EQ(count(svg, "<circle"), 1u);
  EXPECT_EQ(count(svg, "<polyline"), 0u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(Chart, ConstantSeriesLiesInside) {
  for (bool log : {false, true})
    for (double v : {3.0, 1e-9, 1e12}) {
      std::string svg = render_chart(LineChart{"", "", "", log, {{"c", {1, 2, 3}, {v, v, v}}}, {}});
      EXPECT_EQ(count(svg, "<polyline"), 1u);
      EXPECT_EQ(svg.find("nan"), std::string::npos) << v;
      EXPECT_EQ(svg.find("inf"), std::string::npos) << v;
    }
}

TEST(Chart, NotANumberBreaksTheLine) {
  std::string svg = render_chart(LineChart{"", "", "", false, {{"l", {1, 2, 3, 4, 5}, {1, 2, NAN, 2, 1}}}, {}});
  EXPECT_EQ(count(svg, "<polyline"), 2u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  svg = render_chart(LineChart{"", "", "", true, {{"l", {1, 2, 3, 4}, {10, 1, 0, -1}}}, {}});
  EXPECT_EQ(count(svg, "<polyline"), 1u) << "not positive: not on a log axis";
  svg = render_chart(LineChart{"", "", "", false, {{"l", {1}, {NAN}}, {"m", {}, {}}}, {}});
  EXPECT_EQ(count(svg, "no data"), 2u);
}

TEST(Chart, ManyPointsAreThinnedToTheirExtremes) {
  LineChart c{"", "", "", false, {{"l", {}, {}}}, {}};
  for (int i = 0; i < 100000; ++i) c.series[0].x.push_back(i), c.series[0].y.push_back(i == 50000 ? 100 : i % 2);
  std::string svg = render_chart(c);
  EXPECT_LT(svg.size(), 60000u);
  EXPECT_NE(svg.find(",35.5 "), std::string::npos) << "the spike at 100 is kept";  // 24 + 254 * (5 / 110)
}

TEST(Chart, Ticks) {
  EXPECT_EQ(linear_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(linear_ticks(-1, 1, 4), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(log_ticks(0.5, 2000), (std::vector<double>{1, 10, 100, 1000}));
  EXPECT_EQ(log_ticks(2, 12), (std::vector<double>{2, 5, 10}));
  EXPECT_FALSE(log_ticks(2.1, 2.2).empty());
  EXPECT_EQ(tick_text(1234), "1234");
  EXPECT_EQ(tick_text(12500), "12.5k");
  EXPECT_EQ(tick_text(3e6), "3M");
  EXPECT_EQ(tick_text(0.05), "0.05");
  EXPECT_EQ(tick_text(0), "0");
}

TEST(Chart, BarsGiveShares) {
  std::string html =
      render_chart(BarChart{"funnel", {{"read", 200, "", ""}, {"kept", 50, "50 docs", ""}, {"?", NAN, "", ""}}});
  EXPECT_NE(html.find("25.0 %"), std::string::npos);
  EXPECT_NE(html.find("50 docs"), std::string::npos);
  EXPECT_NE(html.find("no data"), std::string::npos);
  EXPECT_NE(render_chart(BarChart{"none", {{"zero", 0, "", ""}}}).find("– %"), std::string::npos);
}

// A picture of its own: names, axes by powers, points of another series' colour, nothing to fetch.
TEST(HtmlChart, SvgFile) {
  LineChart c{.title = "speed <1>", .log_x = true};
  c.series.push_back({"a & b", {8, 64, 1024}, {3, 2, 1}});
  c.series.push_back({"measured", {8, 64, -1}, {3.1, 2.1, 5}, true, 0});
  const std::string svg = render_svg_file(c);
  EXPECT_EQ(count(svg, "<polyline"), 1u);
  EXPECT_EQ(count(svg, "<circle"), 2u);  // -1 has no place on a log axis
  EXPECT_EQ(count(svg, "class='c0'"), 3u);
  EXPECT_NE(svg.find("xmlns='http://www.w3.org/2000/svg'"), std::string::npos);
  EXPECT_NE(svg.find("speed &lt;1&gt;"), std::string::npos);
  EXPECT_NE(svg.find("a &amp; b"), std::string::npos);
  EXPECT_EQ(svg.find("measured"), std::string::npos);
  EXPECT_NE(svg.find(">100<"), std::string::npos);
}

}  // namespace
}  // namespace puyu
