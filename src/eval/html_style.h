// The style sheet of an HTML report.
#pragma once

namespace puyu {

extern const char* const kReportStyle;
inline constexpr int kSeriesColours = 6;  // classes c0 … c5

}  // namespace puyu
