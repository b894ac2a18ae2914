// LaTeX papers as plain text: sections, paragraphs on one line each, lists, rows of tables ("a | b"), theorems and
// code; formulae kept as the TeX they are; figures, citations, bibliography and what only lays out the page left out.
// Macros without arguments are expanded, others keep their arguments' text. This is no TeX: no macro has parameters,
// nothing loops, and what grows is bounded, so any input ends.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace puyu {

struct LatexPaper {
  std::string title, text;
};

// Another source file by the name that \input gives it; nullopt when there is none.
using LatexFiles = std::function<std::optional<std::string>(const std::string& name)>;

// The source without comments, \input and \include replaced by their files (16 deep, 64 MiB at most); `missing` counts
// those that are not there.
std::string expand_latex_inputs(std::string_view source, const LatexFiles& files, size_t& missing);
// Macros without arguments replaced by what \newcommand, \def and \DeclareMathOperator say, their definitions taken
// out.
std::string expand_latex_macros(std::string_view source);
// A whole source, expanded as above.
LatexPaper latex_to_text(std::string_view source);
// Has a \documentclass (or \documentstyle) and begins a document.
bool is_latex_main(std::string_view source);

}  // namespace puyu
