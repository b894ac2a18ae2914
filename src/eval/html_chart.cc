#include "eval/html_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/check.h"
#include "base/error.h"
#include "base/utf8.h"
#include "eval/html_style.h"

namespace puyu {
namespace {

// The drawing area in SVG units; the page scales it.
constexpr double kWidth = 880, kHeight = 320, kLeft = 58, kRight = 14, kTop = 24, kBottom = 42;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;
constexpr size_t kSmoothFrom = 400;  // a line of more points is drawn pale, its running mean over it

// Of a chart that stands alone: what html_style.cc says of charts, in fewer words.
constexpr const char* kChartStyle = R"css(
.chart { --page: #fff; --ink: #22252a; --soft: #646b75; --grid: #ecebe7; font: 12px system-ui, sans-serif; }
.c0 { --c: #2f6fb7; } .c1 { --c: #c8622a; } .c2 { --c: #2a8c6a; } .c3 { --c: #9a4f9e; } .c4 { --c: #a98511; } .c5 { --c: #6b7280; }
@media (prefers-color-scheme: dark) { .chart { --page: #1c1f23; --ink: #e4e6e9; --soft: #9aa2ad; --grid: #33383f; }
.c0 { --c: #6ea8e6; } .c1 { --c: #ee9560; } .c2 { --c: #5cc29d; } .c3 { --c: #cf8dd3; } .c4 { --c: #d9b64a; } .c5 { --c: #a3abb6; } }
.page { fill: var(--page); } text { fill: var(--soft); } .name, .title, .phase-name { fill: var(--ink); } .title { font-weight: 600; font-size: 14px; }
.grid { stroke: var(--grid); } .axis { stroke: var(--soft); } .phase { stroke: var(--soft); stroke-dasharray: 3 4; }
polyline, .key { fill: none; stroke: var(--c); stroke-width: 1.8; } .pale { stroke-opacity: .35; } circle { fill: var(--c); }
)css";

std::string coordinate(double v) {
  char buf[32];
  std::snprintf(buf, sizeof buf, "%.1f", v);
  return buf;
}

std::string colour(size_t series) { return cat("c", series % kSeriesColours); }

// Data to pixels along one axis.
struct Axis {
  double low = 0, high = 1;
  bool log = false;
  bool shows(double v) const { return std::isfinite(v) && (!log || v > 0); }
  double place(double v) const { return log ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low); }
  std::vector<double> ticks(int count) const { return log ? log_ticks(low, high) : linear_ticks(low, high, count); }
};

struct Plot {
  Axis x, y;
  double px(double v) const { return kLeft + x.place(v) * kPlotWidth; }
  double py(double v) const { return kTop + (1 - y.place(v)) * kPlotHeight; }
};

// A range that holds all values it can show; a single value gets some room around it.
struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double v) { low = std::min(low, v), high = std::max(high, v); }
  Axis axis(bool log, double margin) const {
    if (low > high) return log ? Axis{0.1, 10, true} : Axis{0, 1, false};
    if (log) {
      double room = std::max(std::pow(high / low, margin), low == high ? 1.5 : 1.0);
      return {low / room, high * room, true};
    }
    double room = low == high ? std::max(std::abs(low) * 0.1, 1e-6) : (high - low) * margin;
    return {low - room, high + room, false};
  }
};

Plot make_plot(const LineChart& c) {
  Axis any_x{.log = c.log_x}, any_y{.log = c.log_y};
  Range xs, ys;
  for (const auto& s : c.series) {
    CHECK(s.x.size() == s.y.size(), "a series has as many x as y");
    for (size_t i = 0; i < s.x.size(); ++i)
      if (any_x.shows(s.x[i]) && any_y.shows(s.y[i])) xs.add(s.x[i]), ys.add(s.y[i]);
  }
  return {xs.axis(c.log_x, 0), ys.axis(c.log_y, 0.05)};
}

struct Point {
  double x, y;
};

// Of more points than pixels, the lowest and the highest of each pixel column: the same picture in less text.
std::vector<Point> thin_out(const std::vector<Point>& points) {
  if (points.size() < 2 * static_cast<size_t>(kPlotWidth)) return points;
  std::vector<Point> out;
  for (size_t i = 0; i < points.size();) {
    size_t low = i, high = i, j = i;
    for (; j < points.size() && std::floor(points[j].x) == std::floor(points[i].x); ++j) {
      if (points[j].y < points[low].y) low = j;
      if (points[j].y > points[high].y) high = j;
    }
    out.push_back(points[std::min(low, high)]);
    if (low != high) out.push_back(points[std::max(low, high)]);
    i = j;
  }
  return out;
}

std::string polyline(const std::vector<Point>& points, const char* kind) {
  std::string out = cat("<polyline class='", kind, "' points='");
  for (const Point& p : thin_out(points)) out += cat(coordinate(p.x), ",", coordinate(p.y), " ");
  out.back() = '\'';
  return out + "/>";
}

// The running mean over a centred window of 1/50 of the points.
std::vector<Point> smooth(const std::vector<Point>& points) {
  size_t half = points.size() / 100;
  std::vector<double> sums{0};
  for (const Point& p : points) sums.push_back(sums.back() + p.y);
  std::vector<Point> out;
  for (size_t i = 0; i < points.size(); ++i) {
    size_t h = std::min({half, i, points.size() - 1 - i});
    out.push_back({points[i].x, (sums[i + h + 1] - sums[i - h]) / static_cast<double>(2 * h + 1)});
  }
  return out;
}

std::string draw_run(const std::vector<Point>& run) {
  if (run.empty()) return "";
  if (run.size() == 1) return cat("<circle cx='", coordinate(run[0].x), "' cy='", coordinate(run[0].y), "' r='3'/>");
  if (run.size() < kSmoothFrom) return polyline(run, "plain");
  return polyline(run, "pale") + polyline(smooth(run), "plain");
}

std::string draw_series(const LineChart::Series& s, const Plot& plot, size_t index) {
  std::string out = cat("<g class='", colour(s.colour < 0 ? index : static_cast<size_t>(s.colour)), "'>");
  std::vector<Point> run;
  for (size_t i = 0; i < s.x.size(); ++i) {
    if (plot.x.shows(s.x[i]) && plot.y.shows(s.y[i])) {
      run.push_back({plot.px(s.x[i]), plot.py(s.y[i])});
      if (!s.points) continue;
    }
    out += draw_run(run);
    run.clear();
  }
  return out + draw_run(run) + "</g>\n";
}

std::string line(const char* kind, double x1, double y1, double x2, double y2) {
  return cat("<line class='", kind, "' x1='", coordinate(x1), "' y1='", coordinate(y1), "' x2='", coordinate(x2),
             "' y2='", coordinate(y2), "'/>");
}

std::string label(double x, double y, const char* anchor, std::string_view text, const char* kind = "") {
  return cat("<text x='", coordinate(x), "' y='", coordinate(y), "' text-anchor='", anchor, "' class='", kind, "'>",
             escape_html(text), "</text>\n");
}

std::string draw_axes(const LineChart& c, const Plot& plot) {
  std::string out;
  for (double t : plot.y.ticks(6)) {
    out += line("grid", kLeft, plot.py(t), kWidth - kRight, plot.py(t));
    out += label(kLeft - 8, plot.py(t) + 4, "end", tick_text(t));
  }
  double base = kTop + kPlotHeight;
  out += line("axis", kLeft, base, kWidth - kRight, base);
  for (double t : plot.x.ticks(9)) {
    out += line("axis", plot.px(t), base, plot.px(t), base + 4);
    out += label(plot.px(t), base + 18, "middle", tick_text(t));
  }
  out += label(kWidth - kRight, kHeight - 6, "end", c.x_label);
  out += label(kLeft, 12, "start", c.y_label);
  return out;
}

// A marker's name stands right of its line, left of it where the room ends, and a row lower when it would touch the
// name before it.
std::string draw_markers(const LineChart& c, const Plot& plot) {
  std::string out;
  double taken = 0, row = 0;
  for (const auto& m : c.markers) {
    double at = plot.x.shows(m.x) ? plot.x.place(m.x) : -1;
    if (at < 0 || at > 1) continue;
    double x = plot.px(m.x), width = 7.0 * static_cast<double>(display_width(m.label));
    bool left = x + 6 + width > kWidth - kRight && x - 6 - width > kLeft;
    row = (left ? x - 6 - width : x) < taken ? row + 1 : 0;
    taken = left ? x : x + 6 + width;
    out += line("phase", x, kTop, x, kTop + kPlotHeight);
    out += label(x + (left ? -6 : 6), kTop + 12 + 15 * row, left ? "end" : "start", m.label, "phase-name");
  }
  return out;
}

double last_shown(const LineChart::Series& s, const Axis& y) {
  for (size_t i = s.y.size(); i-- > 0;)
    if (y.shows(s.y[i])) return s.y[i];
  return NAN;
}

std::string draw_legend(const LineChart& c, const Plot& plot) {
  std::string out = "<div class='legend'>";
  for (size_t i = 0; i < c.series.size(); ++i) {
    double last = last_shown(c.series[i], plot.y);
    out += cat("<span class='", colour(i), "'><i></i>", escape_html(c.series[i].name), "<em>",
               std::isfinite(last) ? tick_text(last) : "no data", "</em></span>");
  }
  return out + "</div>\n";
}

}  // namespace

std::vector<double> linear_ticks(double low, double high, int count) {
  CHECK(high > low && count > 0);
  double rough = (high - low) / count, power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (double m : {2.0, 5.0, 10.0})
    if (step < rough * 0.999) step = power * m;
  std::vector<double> out;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) out.push_back(k * step + 0.0);
  return out;
}

std::vector<double> log_ticks(double low, double high) {
  CHECK(low > 0 && high > low);
  int first = static_cast<int>(std::floor(std::log10(low))), last = static_cast<int>(std::ceil(std::log10(high)));
  int decades = static_cast<int>(std::floor(std::log10(high)) - std::ceil(std::log10(low))) + 1;
  int every = std::max(1, decades / 8);
  std::vector<double> out;
  for (int e = first; e <= last; e += every)
    for (double m : {1.0, 2.0, 5.0}) {
      double t = m * std::pow(10, e);
      if (t >= low * (1 - 1e-9) && t <= high * (1 + 1e-9) && (m == 1 || decades < 3)) out.push_back(t);
    }
  // Within less than a factor of two no such tick may fall inside: take round numbers instead.
  return out.size() >= 2 ? out : linear_ticks(low, high, 5);
}

std::string tick_text(double v) {
  constexpr struct {
    double size;
    const char* suffix;
  } kScales[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
  for (auto [size, suffix] : kScales)
    if (std::abs(v) >= size) {
      double unit = size == 1e4 ? 1e3 : size;
      return cat(std::round(v / unit * 1e3) / 1e3, suffix);
    }
  char buf[32];
  std::snprintf(buf, sizeof buf, "%.4g", v);
  return buf;
}

std::string render_chart(const LineChart& c) {
  Plot plot = make_plot(c);
  std::string out = "<figure class='block panel' style='margin-inline:0'>\n";
  if (!c.title.empty()) out += cat("<h3>", escape_html(c.title), "</h3>\n");
  out += draw_legend(c, plot);
  out += cat("<div class='scroll'><svg class='chart' viewBox='0 0 ", kWidth, " ", kHeight, "' role='img' aria-label='",
             escape_html(c.title), "'>\n");
  out += draw_axes(c, plot);
  for (size_t i = 0; i < c.series.size(); ++i) out += draw_series(c.series[i], plot, i);
  return out + draw_markers(c, plot) + "</svg></div>\n</figure>\n";
}

std::string render_svg_file(const LineChart& c) {
  const Plot plot = make_plot(c);
  constexpr double kRow = 22;
  std::string legend;
  double x = kLeft, y = -kRow;
  for (size_t i = 0; i < c.series.size(); ++i) {
    const auto& s = c.series[i];
    if (s.colour >= 0) continue;
    const double width = 34 + 7.0 * static_cast<double>(display_width(s.name));
    if (x + width > kWidth && x > kLeft) x = kLeft, y -= kRow;
    legend += cat("<g class='", colour(i), "'>", line("key", x, y - 4, x + 20, y - 4), "</g>",
                  label(x + 26, y, "start", s.name, "name"));
    x += width;
  }
  const double top = y - kRow - (c.title.empty() ? 0 : kRow);
  std::string out =
      cat("<svg xmlns='http://www.w3.org/2000/svg' class='chart' viewBox='0 ", coordinate(top), " ", kWidth, " ",
          coordinate(kHeight - top), "' role='img' aria-label='", escape_html(c.title), "'>\n<style>", kChartStyle,
          "</style>\n<rect class='page' x='0' y='", coordinate(top), "' width='100%' height='100%'/>\n");
  if (!c.title.empty()) out += label(kLeft, top + kRow - 4, "start", c.title, "title");
  out += legend + draw_axes(c, plot);
  for (size_t i = 0; i < c.series.size(); ++i) out += draw_series(c.series[i], plot, i);
  return out + draw_markers(c, plot) + "</svg>\n";
}

std::string render_chart(const BarChart& c) {
  double most = 0;
  for (const auto& b : c.bars)
    if (std::isfinite(b.value)) most = std::max(most, b.value);
  std::string out = "<figure class='block panel' style='margin-inline:0'>\n";
  if (!c.title.empty()) out += cat("<h3>", escape_html(c.title), "</h3>\n");
  out += "<table class='bars'>\n";
  for (const auto& b : c.bars) {
    bool known = std::isfinite(b.value);
    double share = known && most > 0 ? std::max(0.0, b.value) / most * 100 : 0;
    out += cat("<tr><td>", escape_html(b.label));
    if (!b.note.empty()) out += cat("<span class='note'>", escape_html(b.note), "</span>");
    out +=
        cat("</td><td><svg role='presentation'><rect class='back' width='100%' height='100%' rx='3'/>",
            "<rect class='fill c0' width='", coordinate(share), "%' height='100%' rx='3'/></svg></td><td class='num'>",
            b.text.empty() ? (known ? tick_text(b.value) : "no data") : escape_html(b.text), "</td>");
    if (c.percent)
      out += cat("<td class='num'>", known && most > 0 ? coordinate(b.value / most * 100) : "–", " %</td>");
    out += "</tr>\n";
  }
  return out + "</table>\n</figure>\n";
}

}  // namespace puyu
