// One self-contained HTML page out of plain structs: no script, no font, no image, nothing fetched; charts are inline
// SVG. It follows the reader's light or dark scheme, prints, and reads on a narrow window. Every text is escaped and a
// content security policy forbids scripts, because what a model wrote may be hostile HTML.
//
//   HtmlReport r{.title = "demo run", .numbers = {{"validation loss", "2.31", "was 9.4"}}};
//   r.sections.push_back({"Pre-training", {Text{"Two phases."}, LineChart{.title = "loss", .series = {...}}}});
//   write_file("report.html", render_html(r));
#pragma once
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace puyu {

// A card at the top of the page.
struct KeyNumber {
  std::string label{}, value{}, note{};
};

// Paragraphs, separated by blank lines.
struct Text {
  std::string text{};
};

struct Code {
  std::string caption{}, text{};
};

// Rows may be shorter than the header. A column whose cells all begin like numbers is right-aligned.
struct Table {
  std::string caption{};
  std::vector<std::string> header{};
  std::vector<std::vector<std::string>> rows{};
};

// Points that are not finite (or not positive on a log axis) are left out and break the line. A long line is drawn pale
// with its running mean over it.
struct LineChart {
  struct Series {
    std::string name{};
    std::vector<double> x{}, y{};  // of equal length
    bool points = false;           // single points instead of a line
    int colour = -1;               // of the series with this number; -1: its own
  };
  struct Marker {  // a vertical line, e.g. where a phase begins
    double x = 0;
    std::string label{};
  };
  std::string title{}, x_label{}, y_label{};
  bool log_y = false;
  std::vector<Series> series{};
  std::vector<Marker> markers{};
  bool log_x = false;
};

// Horizontal bars. In a funnel the percentage is of the first bar, else of the longest.
struct BarChart {
  struct Bar {
    std::string label{};
    double value = 0;
    std::string text{};  // how the value is written; empty: the number
    std::string note{};
  };
  std::string title{};
  std::vector<Bar> bars{};
  bool percent = true;
};

// Questions, and for each the answers of several stages side by side.
struct Transcript {
  enum class Mark { kNone, kRight, kWrong };
  struct Answer {
    std::string text{};
    Mark mark = Mark::kNone;
  };
  struct Row {
    std::string question{}, expected{};  // expected may be empty
    std::vector<Answer> answers{};       // one a stage
  };
  std::string caption{};
  std::vector<std::string> stages{};
  std::vector<Row> rows{};
};

using ReportBlock = std::variant<Text, Code, Table, LineChart, BarChart, Transcript>;
struct Section {
  std::string title{};
  std::vector<ReportBlock> blocks{};
};
struct HtmlReport {
  std::string title{}, subtitle{};
  std::vector<KeyNumber> numbers{};
  std::vector<Section> sections{};
  std::string footer{};
};

std::string render_html(const HtmlReport& report);

// For text between tags and in quoted attributes: & < > " ' escaped, invalid UTF-8 and control characters replaced.
std::string escape_html(std::string_view text);

}  // namespace puyu
