// The verbs of 'puyu data' beside the run itself: lists, models and reports, each with options and help of its own.
#pragma once
#include "cli/args.h"

namespace puyu {

const Verb* find_data_tool(const std::string& name);  // null when there is none of that name
std::string data_tools_help();                        // a line each

extern const Verb kDataDomains;
extern const Verb kDataRestore;
extern const Verb kDataTrainClassifier;
extern const Verb kDataTrainNgram;
extern const Verb kDataPerplexity;
extern const Verb kDataArpa;
extern const Verb kDataBenchmarks;
extern const Verb kDataEnrich;
extern const Verb kDataCompare;
extern const Verb kDataReport;

}  // namespace puyu
