// Descriptions of source files and repositories made by program, for long documents of code to learn from (InternLM2
// report 4.3 puts generated ones before each file): what a file's own words say it is for, and what it
// defines. Nothing is invented; a file that says nothing of itself gets the plain facts.
#pragma once
#include <string>
#include <vector>

#include "data/code_order.h"

namespace puyu {

// "Python, 120 lines. Reads shards of tokens. Defines Shard, open_shard." Empty for other text.
std::string describe_file(const RepositoryFile& file);
// The first paragraph of the README, how many files of which languages, and the files in their order.
std::string describe_repository(const std::vector<RepositoryFile>& files, const std::vector<size_t>& order);

}  // namespace puyu
