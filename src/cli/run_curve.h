// A training run's folder in a few numbers, and its curve as a picture.
#pragma once
#include <string>

#include "base/json.h"

namespace puyu {

bool is_run(const std::string& dir);  // has a metrics.jsonl
Json describe_run(const std::string& dir);
// The loss of each step and of each validation set over steps, with the borders of the phases, what the guard left out,
// and where the run went back, as an SVG file.
std::string run_curve_svg(const std::string& dir, const std::string& title);

}  // namespace puyu
