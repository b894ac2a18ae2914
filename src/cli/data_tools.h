// The verbs of 'puyu data' beside the run itself: lists, models and reports, each with options and help of its own.
#pragma once
#include "cli/args.h"

namespace puyu {

const Verb* find_data_tool(const std::string& name);  // null when there is none of that name
std::string data_tools_help();                        // a line each

extern const Verb kDataDomains;
extern const Verb kDataRestore;

}  // namespace puyu
