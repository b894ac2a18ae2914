// Plans of training as text and JSON.
#pragma once
#include <string>

#include "base/json.h"
#include "train/plan_search.h"

namespace puyu {

std::string describe(const TrainJob& job, const Cluster& cluster);  // one line each
std::string to_text(const TrainPlan& p);
Json to_json(const TrainPlan& p);
std::string to_text(const SearchResult& r, double seconds);
Json to_json(const SearchResult& r);

}  // namespace puyu
