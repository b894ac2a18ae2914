// The charts of an HTML report as SVG and HTML fragments; colours are the page's CSS classes (html_style.cc).
#pragma once
#include <string>
#include <vector>

#include "eval/html_report.h"

namespace puyu {

std::string render_chart(const LineChart& chart);
std::string render_chart(const BarChart& chart);
// A line chart as a file of its own, with its colours and its legend in it; light and dark as the reader's page.
std::string render_svg_file(const LineChart& chart);

// Round tick positions (1, 2 or 5 times a power of ten) inside [low, high], about `count` of them.
std::vector<double> linear_ticks(double low, double high, int count);
// Powers of ten inside [low, high]; when fewer than three, also their doubles and fives.
std::vector<double> log_ticks(double low, double high);
// "0.05", "12.5k", "3M".
std::string tick_text(double value);

}  // namespace puyu
