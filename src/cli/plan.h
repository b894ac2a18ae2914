// The parts of 'puyu plan' that are of training and data.
#pragma once
#include <string>
#include <vector>

#include "train/plan_cluster.h"

namespace puyu {

int run_plan_train(const std::vector<std::string>& argv);
int run_plan_published(const std::vector<std::string>& argv);
int run_plan_data(const std::vector<std::string>& argv);

// This machine as a cluster of so many ranks that share its cores and memory: its limits (bench limits) and what a
// training step gets of them (bench train), measured now in a few seconds.
Cluster measure_machine(int64_t ranks, const std::string& dtype);

}  // namespace puyu
